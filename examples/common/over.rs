//! How models with different tokenizers are combined: over bytes, or over the tokens of one vocabulary.
use std::sync::Arc;

use anyhow::{Context, Result};
use eft::bytes::ByteSettings;
use eft::token_map::TokenMap;
use eft::{Source, Vocab};

/// How models become models of bytes.
#[derive(Clone, Copy)]
pub(super) struct OverBytes {
    pub(super) prune: f64,
    pub(super) covering: Option<f64>,
}

impl OverBytes {
    /// Whether it is known which token sequences a model's tokenizer writes.
    pub(super) fn is_known<B: eft::Backend>(source: &Source<B>) -> bool {
        !matches!(source.bytes(), Err(eft::Error::CannotRender { .. }))
    }

    /// The model over bytes: by the token sequences that its tokenizer writes if these are known, else by all of them if that
    /// was asked for.
    pub(super) fn of<B: eft::Backend>(self, source: &Source<B>) -> Result<Source<B>> {
        match (source.bytes_with(ByteSettings::default().prune(self.prune)), self.covering) {
            (Err(eft::Error::CannotRender { .. }), Some(share)) => {
                eprintln!("{} is summed over all token sequences.", source.name());
                Ok(source.bytes_with(ByteSettings::default().covering(share))?)
            }
            (Err(error @ eft::Error::CannotRender { .. }), None) => {
                Err(error).context("give `--covering 0.01`, which sums over all token sequences")
            }
            (made, _) => Ok(made?),
        }
    }
}

/// The source itself if its tokens are those of the vocabulary, else over this vocabulary.
pub(super) fn over_vocab<B: eft::Backend>(source: &Source<B>, vocab: &Arc<Vocab>) -> Result<Source<B>> {
    if source.vocab().relation(vocab).is_ok() {
        return Ok(source.clone());
    }
    let (shared, all) = (TokenMap::new(vocab, source.vocab()).len(), vocab.real());
    eprintln!("{} has {shared} of the {all} tokens of `{}`.", source.name(), vocab.name());
    Ok(source.over_vocab(vocab)?)
}
