//! Loading folders in Hugging Face's layout.
use std::path::Path;
use std::sync::Arc;

use eft_models::{Checkpoint, Nn};

use super::error::Result;
use super::loader::Loader;
use super::model::{self, Model};
use super::sidecar;

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, folder: &Path, name: String) -> Result<Model<N::Backend>> {
    let checkpoint = Checkpoint::open(folder)?.named(name.clone());
    loader.on_warning.fields(checkpoint.warnings());
    let spec = checkpoint.spec();
    let (vocab, renderer) = sidecar::read(loader, folder, name, spec.vocab, &spec.eos)?.unzip();
    model::of_weights(loader, nn, &checkpoint, vocab.map(Arc::new), renderer)?.with_defaults(folder)
}
