//! Tests of folders, GGUF files and adapters, for any tensor library.
use eft::load::Loader;
use eft::models::Nn;
use eft::{Prompt, Source};

use crate::{laws, zoo};

fn loader(path: &str) -> Loader {
    Loader::new(zoo(path).to_string_lossy())
}

pub(crate) fn model<N: Nn>(nn: &N, path: &str) -> Source<N::Backend> {
    loader(path).load_on(nn.clone()).unwrap().source
}

/// Loads the small model with its adapters, which share its weights.
pub(crate) fn small<N: Nn>(nn: &N) -> Source<N::Backend> {
    let adapters = ["tuned-small", "terse", "full"];
    let with = |l: Loader, name: &&str| l.adapter(*name, zoo(&format!("adapters/{name}")));
    adapters.iter().fold(loader("base-small"), with).load_on(nn.clone()).unwrap().source
}

/// The small model under an adapter, which was tuned on the chat template of `tuned-small`.
pub(crate) fn adapted<N: Nn>(nn: &N, small: &Source<N::Backend>, name: &str) -> Source<N::Backend> {
    let tuned = loader("tuned-small").load_on(nn.clone()).unwrap();
    small.adapter(name).unwrap().rendered_by(tuned.renderer.unwrap()).unwrap()
}

/// Conversations are rendered as the models were trained, also with the template of a GGUF file.
pub(crate) fn renders<N: Nn>(nn: &N) {
    laws::renders(|path| model(nn, path));
    let render = |path: &str| model(nn, path).render(Prompt::chat("Why?")).unwrap();
    // The reader of GGUF files is in the candle backend.
    if cfg!(feature = "candle") {
        assert_eq!(render("gguf/base-large-f16.gguf"), render("base-large"));
    }
}

/// Models write the same texts as in transformers.
pub(crate) fn models<N: Nn>(nn: &N) {
    laws::MODELS.iter().for_each(|name| laws::writes(&model(nn, name), name));
}

/// GGUF files write the same texts as the folders that they were made from.
pub(crate) fn gguf_files<N: Nn>(nn: &N) {
    for name in ["base-small", "tuned-small", "base-large"] {
        laws::writes(&model(nn, &format!("gguf/{name}-f16.gguf")), name);
    }
}

/// Combinations of models and of adapters write the same texts as in transformers.
pub(crate) fn combinations<N: Nn>(nn: &N) {
    laws::writes(&laws::upscaled(|path| model(nn, path)).0, "base-large + tuned-small - base-small");
    let (large, small) = (model(nn, "base-large"), small(nn));
    let (terse, full) = (adapted(nn, &small, "terse"), adapted(nn, &small, "full"));
    let mixed = &large + (0.5 * (&terse - &small) + 0.5 * (&full - &small));
    laws::writes(&mixed, "base-large + 0.5 terse + 0.5 full - base-small");
}

/// Logits equal those of transformers, also under adapters.
pub(crate) fn logits<N: Nn>(nn: &N) {
    let small = small(nn);
    let adapters =
        ["tuned-small", "terse", "full"].map(|n| (format!("adapters/{n}"), small.adapter(n).unwrap()));
    laws::logits(laws::MODELS.map(|name| (name.to_owned(), model(nn, name))).into_iter().chain(adapters));
}
