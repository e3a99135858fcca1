//! Decoders that were exported as graphs: functions from tokens and a cache to logits and the next cache.
//!
//! A tensor library that runs such a function implements [`Graph`], and [`GraphEngine`] makes an engine of it: sessions
//! over ragged batches, rollback, forks, long prompts in pieces. ONNX files and TorchScript modules are run so.
//!
//! # How rows of different length share a cache
//! A cache is of rows × *slots*, and a pass adds as many slots to each row as the row that is fed most has tokens. What
//! a row has no token for is a *hole*: left out by the attention mask, and not counted by the positions. A rollback
//! makes holes, too, and so costs nothing. When there are too many of them, or slots run out, what is left is gathered
//! into a new cache; and so are rows that are selected.
//!
//! Whether a model can be told of holes is tried out when it is loaded, since its names do not say: it may have no
//! mask, count positions by the length of its cache, or take the mask for no more than a length. Rows of such a
//! model get caches and passes of their own. So do those of models with a sliding window, which counts slots.
//!
//! ```
//! use eft_core::{Backend, Host, Result, Sampling, Source};
//! use eft_models::graph::{Graph, GraphEngine, Pass, Passed, Picked, Settings, GraphCaps};
//!
//! /// After each token comes the next one. It needs no cache.
//! struct Counting;
//!
//! impl Graph for Counting {
//!     type Backend = Host;
//!     type Caches = ();
//!
//!     fn backend(&self) -> &Host {
//!         &Host
//!     }
//!
//!     fn caps(&self) -> GraphCaps {
//!         GraphCaps { cached: false, masked: false, one_row: false }
//!     }
//!
//!     fn pass(&self, pass: &Pass, _: Option<&()>) -> Result<Passed<Self>> {
//!         let logits = |id: &i64| (0..8).map(|next| if next == (id + 1) % 8 { 5.0 } else { 0.0 }).collect();
//!         let logits: Vec<Vec<f32>> = pass.ids.iter().map(logits).collect();
//!         Ok(Passed { logits: Some((Host.upload(&logits.concat(), 8)?, pass.tokens)), caches: None })
//!     }
//!
//!     fn gather(&self, _: &(), _: usize, _: &[Picked]) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! let engine = GraphEngine::new(Counting, Settings::new("counting"), None)?;
//! let text = Source::new(engine).generate([3], Sampling::greedy())?.take(3);
//! assert_eq!(text.map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?, [4, 5, 6]);
//! # Ok::<(), eft_models::graph::GraphError>(())
//! ```
mod block;
mod cached;
mod engine;
mod probe;
mod recomputed;
mod scored;

pub use engine::{GraphEngine, GraphError, Settings};

use eft_core::{Backend, Result};

/// A decoder that is a function. Its caches are values: they never change, so that several sessions may hold them.
pub trait Graph: Send + Sync + Sized + 'static {
    /// Where logits live.
    type Backend: Backend;

    /// Keys and values of all layers, for some rows and slots. A clone is another handle.
    type Caches: Clone + Send;

    /// The tensor library.
    fn backend(&self) -> &Self::Backend;

    /// What the function takes.
    fn caps(&self) -> GraphCaps;

    /// Runs the function. There are no caches where there are no slots.
    ///
    /// # Errors
    /// Failures of the library, and outputs of wrong shapes.
    fn pass(&self, pass: &Pass, caches: Option<&Self::Caches>) -> Result<Passed<Self>>;

    /// New caches of slots picked from caches of so many slots: a row for each entry, whose lists are equally long.
    ///
    /// # Errors
    /// Failures of the library.
    fn gather(&self, caches: &Self::Caches, slots: usize, picked: &[Picked]) -> Result<Self::Caches>;
}

/// What a [`Graph`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphCaps {
    /// Caches; else it is given all tokens each time.
    pub cached: bool,
    /// An attention mask.
    pub masked: bool,
    /// No more than one row.
    pub one_row: bool,
}

/// What a pass is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Rows of the batch.
    pub rows: usize,
    /// Tokens of each row; shorter ones are filled up behind their own.
    pub tokens: usize,
    /// Slots that the caches have before it.
    pub slots: usize,
    /// `rows × tokens`.
    pub ids: Vec<i64>,
    /// `rows × (slots + tokens)`: 1 for what a row's tokens see, as far as it lies before them; 0 for holes.
    pub mask: Vec<i64>,
    /// `rows × tokens`.
    pub positions: Vec<i64>,
    /// How many trailing positions of each row need logits.
    pub wanted: usize,
}

/// What a pass gives.
pub struct Passed<G: Graph> {
    /// Logits of so many trailing positions of each row, at least those wanted, one row after another; none if none
    /// were wanted.
    pub logits: Option<(<G::Backend as Backend>::Tensor, usize)>,
    /// Caches of `slots + tokens` slots; none of a graph without.
    pub caches: Option<G::Caches>,
}

/// Which slots of which row a new row is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The row.
    pub row: usize,
    /// Its slots, in their new order.
    pub slots: Vec<usize>,
}
