//! GGUF files.
use std::path::Path;
use std::sync::Arc;

use eft_backend_candle::Gguf;
use eft_models::{Nn, Weights};

use super::{Loader, Model, Result};
use crate::text::gguf;

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, file: &Path, name: String) -> Result<Model<N::Backend>> {
    let file = Gguf::open(file)?.named(name);
    let file = if nn.takes_blocks() { file } else { file.dequantised() };
    let tokenizer = match loader.own_tokenizer()? {
        Some(tokenizer) => Some(tokenizer),
        None => file.tokenizer().map(gguf::tokenizer).transpose()?,
    };
    let Some(tokenizer) = tokenizer else { return loader.model(nn, &file, file.vocab().cloned(), None) };
    let vocab = match file.vocab() {
        Some(vocab) => vocab.clone(),
        None => Arc::new(tokenizer.vocab(file.name(), file.spec().vocab)?),
    };
    let renderer = loader.renderer(tokenizer, |name| match (file.tokenizer(), name) {
        (Some(fields), None) => Ok(gguf::template(fields)?),
        (Some(fields), Some(name)) => {
            let reason = "is asked for; of GGUF files, only the template without a name is read";
            Err(fields.wrong(&format!("tokenizer.chat_template.{name}"), reason).into())
        }
        (None, _) => Ok(None),
    })?;
    loader.model(nn, &file, Some(vocab), Some(renderer))
}
