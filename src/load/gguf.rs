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

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, file: &Path, name: String) -> Result<Model<N::Backend>> {
    let file = Gguf::open(file)?.named(name);
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
    let renderer = sidecar::renderer(loader, tokenizer, |name| match (file.tokenizer(), name) {
        (Some(fields), None) => Ok(gguf::template(fields)?),
        (Some(fields), Some(name)) => {
            let reason = "was requested, but only the unnamed template of a GGUF file is supported";
            Err(fields.wrong(&format!("tokenizer.chat_template.{name}"), reason).into())
        }
        (None, _) => Ok(None),
    })?;
    model::of_weights(loader, nn, &file, Some(vocab), Some(renderer))
}
