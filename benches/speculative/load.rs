//! Loads models whose passes are measured.
use std::path::Path;

use eft::models::{DecoderEngine, Nn, Weights};
use eft::{Loader, Source};

use crate::clock::{Clock, Timed};

pub(crate) fn model<N: Nn>(nn: &N, path: &Path, weights: &dyn Weights, clock: &Clock) -> Source<N::Backend> {
    // Loaded for its vocabulary and renderer.
    let loaded = Loader::new(path.to_str().unwrap()).load_on(nn.clone()).unwrap();
    let (vocab, renderer) = (loaded.source.vocab().clone(), loaded.renderer.unwrap());
    drop(loaded.source);
    let engine = DecoderEngine::load(nn.clone(), weights, Some(vocab)).unwrap();
    Source::new(Timed::new(engine, clock)).rendered_by(renderer).unwrap()
}
