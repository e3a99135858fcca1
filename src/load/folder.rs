//! Folders in Hugging Face's layout.
use std::path::Path;
use std::sync::Arc;

use eft_models::{Checkpoint, Nn};

use super::{Loader, Model, Result, beside};

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, folder: &Path, name: String) -> Result<Model<N::Backend>> {
    let checkpoint = Checkpoint::open(folder)?.named(name.clone());
    let spec = checkpoint.spec();
    let (vocab, renderer) = beside::read(loader, folder, name, spec.vocab, &spec.eos)?.unzip();
    loader.model(nn, &checkpoint, vocab.map(Arc::new), renderer)
}
