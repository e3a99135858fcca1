//! Loading GGUF files.
use std::path::Path;
use std::sync::Arc;

use eft_backend_candle::Gguf;
use eft_models::{Nn, Weights};

use super::error::Result;
use super::loader::Loader;
use super::model::{self, Model};
use super::sidecar;
use crate::text::gguf;

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, path: &Path, name: String) -> Result<Model<N::Backend>> {
    let file = Gguf::open(path)?.named(name);
    loader.on_warning.fields(file.warnings());
    let file = if nn.takes_blocks() { file } else { file.dequantised() };
    let tokenizer = match sidecar::given_tokenizer(loader)? {
        Some(tokenizer) => Some(tokenizer),
        None => file.tokenizer().map(gguf::tokenizer).transpose()?,
    };
    let Some(tokenizer) = tokenizer else {
        return model::of_weights(loader, nn, &file, file.vocab().cloned(), None);
    };
    let vocab = match file.vocab() {
        Some(vocab) => vocab.clone(),
        None => Arc::new(tokenizer.vocab(file.name(), file.spec().vocab)?),
    };
    let renderer = sidecar::renderer(loader, tokenizer, |name| match file.tokenizer() {
        Some(fields) => Ok(gguf::template(fields, name)?),
        None => Ok(None),
    })?;
    let vocab = Arc::new(sidecar::with_end_of_turn(loader, vocab.as_ref().clone(), &renderer)?);
    model::of_weights(loader, nn, &file, Some(vocab), Some(renderer))
}
