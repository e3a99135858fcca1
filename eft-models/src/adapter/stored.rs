//! What an adapter stores for a module of its base.
use eft_core::TokenId;

use crate::spec::{DecoderSpec, LinearSpec, NormSpec};
use crate::tensors::RawTensor;
use crate::{Error, Result};

/// The tensors of an adapter, whatever the format of the files that hold them.
///
/// Names of modules are those of the base's [`DecoderSpec`]. Adapters of PEFT are opened by
/// [`Adapter::open`](super::Adapter::open); an implementation for another format becomes an adapter by
/// [`Adapter::new`](super::Adapter::new).
///
/// ```
/// use std::path::PathBuf;
///
/// use eft_models::adapter::{AdapterWeights, BaseWeight, StoredChange};
/// use eft_models::spec::LinearSpec;
/// use eft_models::{Adapter, DecoderSpec, Error, Result};
///
/// /// Changes nothing.
/// struct Nothing;
///
/// impl AdapterWeights for Nothing {
///     fn check(&self, _: &DecoderSpec) -> Result<()> {
///         Ok(())
///     }
///     fn linear<'a>(&'a self, _: &DecoderSpec, _: &LinearSpec, _: &BaseWeight<'_>) -> Result<Option<StoredChange<'a>>> {
///         Ok(None)
///     }
///     fn embedding<'a>(&'a self, _: &DecoderSpec, _: &BaseWeight<'_>) -> Result<Option<StoredChange<'a>>> {
///         Ok(None)
///     }
///     fn error(&self, module: &str, reason: String) -> Error {
///         Error::BadTensor { file: PathBuf::from("nothing"), tensor: module.into(), reason }
///     }
/// }
///
/// assert_eq!(Adapter::new("nothing", Nothing).name(), "nothing");
/// ```
pub trait AdapterWeights: Send + Sync {
    /// Refuses the adapter if one of its tensors belongs to no module of a base with this spec.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if so.
    fn check(&self, base: &DecoderSpec) -> Result<()>;

    /// Returns the change of a linear layer, the output head among them, or `None` if the adapter leaves it alone.
    /// `own` reads the base's own weight of the layer.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if a tensor is missing or has another shape than the layer needs.
    fn linear<'a>(
        &'a self,
        base: &DecoderSpec,
        linear: &LinearSpec,
        own: &BaseWeight<'_>,
    ) -> Result<Option<StoredChange<'a>>>;

    /// Returns the change of the token embedding, or `None` if the adapter leaves it alone. A is held by tokens: its
    /// shape is rank × vocabulary.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if a tensor is missing or has another shape than the embedding needs.
    fn embedding<'a>(&'a self, base: &DecoderSpec, own: &BaseWeight<'_>) -> Result<Option<StoredChange<'a>>>;

    /// Returns the norm that takes the place of one of the base's, or `None` if the adapter leaves it alone, which is the
    /// default.
    ///
    /// # Errors
    /// [`Error::BadTensor`] if a tensor is missing or has another shape than the norm needs.
    fn norm<'a>(&'a self, norm: &NormSpec) -> Result<Option<StoredChange<'a>>> {
        let _ = norm;
        Ok(None)
    }

    /// Returns an error that names the adapter's file and one of its tensors or modules.
    fn error(&self, module: &str, reason: String) -> Error;
}

/// Reads the base's own weight of a module.
pub type BaseWeight<'w> = dyn Fn() -> Result<RawTensor<'w>> + 'w;

/// How an adapter changes one module of its base.
#[derive(Debug, Clone)]
pub enum StoredChange<'a> {
    /// A product of two matrices is added to the weight.
    LowRank(StoredLowRank<'a>),
    /// Another module takes its place.
    Module {
        /// The weight.
        weight: RawTensor<'a>,
        /// The bias, if the module has one.
        bias: Option<RawTensor<'a>>,
    },
    /// Some rows of the weight are others, each of which belongs to a token.
    Rows {
        /// The tokens, without repetitions.
        tokens: Vec<TokenId>,
        /// Their rows: tokens × width.
        rows: RawTensor<'a>,
    },
}

/// The change of one weight matrix: `scale·B·A` is added to it.
#[derive(Debug, Clone)]
pub struct StoredLowRank<'a> {
    /// A: rank × inputs.
    pub(crate) down: RawTensor<'a>,
    /// B: outputs × rank.
    pub(crate) up: RawTensor<'a>,
    /// What is added to the product of B.
    pub(crate) bias: Option<RawTensor<'a>>,
    /// The lengths of the rows of the changed matrix (DoRA).
    pub(crate) magnitude: Option<RawTensor<'a>>,
    pub(crate) scale: f32,
}

impl<'a> StoredLowRank<'a> {
    /// The change `scale·up·down`, where `down` is rank × inputs and `up` is outputs × rank.
    #[must_use]
    pub fn new(down: RawTensor<'a>, up: RawTensor<'a>, scale: f32) -> Self {
        Self { down, up, bias: None, magnitude: None, scale }
    }
}
