//! GGUF files.
use std::path::Path;

use eft_backend_candle::Gguf;
use eft_models::Nn;

use super::{Loader, Model, Result};

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, file: &Path, _name: String) -> Result<Model<N::Backend>> {
    let gguf = Gguf::open(file)?;
    loader.model(nn, &gguf, gguf.vocab().cloned(), None)
}
