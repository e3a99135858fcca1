//! [`DecoderEngine`]: a decoder as an [`Engine`] of `eft-core`, for any tensor library.
//!
//! See [`Nn`] for an example of a tensor library.
use std::sync::{Arc, Mutex, PoisonError};

use eft_core::{Engine, EngineRow, EngineSpec, Error, Opened, Result, RowFeed, Scores, Session, Vocab};

use crate::adapter::Adapter;
use crate::decoder::Decoder;
use crate::nn::Nn;
use crate::session::DecoderSession;
use crate::weights::Weights;

/// How many of its last tokens a row can be rolled back by before it must be read again; unless
/// [`DecoderEngine::free_rollback`] changes it.
const FREE_ROLLBACK: usize = 512;

/// A decoder with its weights, shared by all sessions over it.
///
/// # KV caches
/// The caches of layers with a sliding window keep only what the window can reach, and what a rollback can bring back: see
/// [`free_rollback`](Self::free_rollback). Where the angles of rotary positions change while a text grows (LongRoPE past the
/// original context, and dynamic embeddings past it), the row is read again from its beginning, as transformers does: once
/// for LongRoPE, but for each further token with dynamic embeddings. Logits are always those of a text of that length.
pub struct DecoderEngine<N: Nn> {
    nn: N,
    spec: EngineSpec<N::Backend>,
    /// Tensors need not be `Sync`, so the handles for a session are made under a lock.
    decoder: Mutex<Decoder<N>>,
    free_rollback: usize,
}

impl<N: Nn> DecoderEngine<N> {
    /// Loads a model. Without a `vocab`, the engine gets an anonymous one, named after the model; such a model can only
    /// be combined with itself.
    ///
    /// # Errors
    /// * [`crate::Error::BadTensor`] if a tensor is missing, has another shape than the spec says, or cannot be read.
    /// * [`crate::Error::Core`] if the vocabulary's width is not the model's, or if the device fails.
    pub fn load(nn: N, weights: &dyn Weights, vocab: Option<Arc<Vocab>>) -> crate::Result<Self> {
        Self::with_adapters(nn, weights, &[], vocab)
    }

    /// Loads a model with LoRA adapters, which rows can run under: see [`eft_core::Source::adapter`]. The base's
    /// weights are held in memory once, and read once in each pass, for all adapters together.
    ///
    /// # Errors
    /// * [`crate::Error::BadTensor`] if a tensor of the base is missing, has another shape than the spec says, or
    ///   cannot be read.
    /// * [`crate::Error::Core`] if the vocabulary's width is not the model's, or if the device fails.
    /// * [`crate::Error::BadTensor`] if an adapter does not fit the base, or has a tensor that its configuration does
    ///   not select.
    /// * [`crate::Error::Config`] if a pattern in an adapter's configuration takes too long to match.
    pub fn with_adapters(
        nn: N,
        weights: &dyn Weights,
        adapters: &[Adapter],
        vocab: Option<Arc<Vocab>>,
    ) -> crate::Result<Self> {
        let spec = weights.spec();
        let name = weights.name().into_owned();
        let vocab = match vocab {
            Some(vocab) => vocab,
            None => Arc::new(Vocab::anonymous(&name, spec.vocab)?.with_eos(spec.eos.iter().copied())?),
        };
        if vocab.width() != spec.vocab {
            let what = format!("rows of the vocabulary `{}` for `{name}`", vocab.name());
            return Err(Error::shape(what, spec.vocab, vocab.width()).into());
        }
        let decoder = Mutex::new(Decoder::load(&nn, weights, adapters)?);
        let spec =
            EngineSpec::new(name, nn.backend().clone(), vocab).context(spec.context).bytes(weights.bytes());
        let spec = spec.adapters(adapters.iter().map(Adapter::name));
        Ok(Self { nn, spec, decoder, free_rollback: FREE_ROLLBACK })
    }

    /// Sets how many of its last tokens a row can be rolled back by at no cost; 512 by default. A row that is rolled back
    /// further is read again from its beginning by the next call that extends it. This matters only for models all or
    /// some of whose layers have a sliding window: their caches hold as many tokens more than the window.
    ///
    /// ```
    /// # #[cfg(feature = "conformance")] {
    /// use eft_models::conformance::ReferenceNn;
    /// use eft_models::{Checkpoint, DecoderEngine};
    ///
    /// let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/mistral"))?;
    /// let engine = DecoderEngine::load(ReferenceNn, &checkpoint, None)?.free_rollback(32);
    /// # }
    /// # Ok::<(), eft_models::Error>(())
    /// ```
    #[must_use]
    pub fn free_rollback(self, tokens: usize) -> Self {
        Self { free_rollback: tokens, ..self }
    }

    /// Opens a session with these rows, and scores them.
    pub(crate) fn session(&self, rows: &[EngineRow]) -> Result<(DecoderSession<N>, Scores<N::Backend>)> {
        self.spec.check(rows)?;
        // A poisoned lock is harmless: nothing is ever written to the weights.
        let decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner).share(&self.nn);
        let adapters = rows.iter().map(|row| row.adapter);
        let mut session =
            DecoderSession::new(self.nn.clone(), self.spec.clone(), decoder, adapters, self.free_rollback);
        let feed: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&feed)?;
        Ok((session, scores))
    }
}

impl<N: Nn> Engine for DecoderEngine<N> {
    type Backend = N::Backend;

    fn spec(&self) -> &EngineSpec<N::Backend> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<N::Backend>> {
        let (session, scores) = self.session(rows)?;
        Ok((Box::new(session), scores))
    }
}
