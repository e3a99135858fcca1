//! [`load()`]: from the name of a model to a source that takes text and conversations.
//!
//! A name is a folder in Hugging Face's layout, a GGUF file, or an id on the Hugging Face hub (`organisation/model`;
//! for a GGUF file there, `organisation/model:file.gguf`). The tokenizer, the chat template and the end-of-sequence ids
//! are read from the same place. [`Loader`] has the options, and with the feature `ort` it loads ONNX files
//! (`Loader::load_onnx`). With the feature `remote`, a name may also be the url of a server that runs the model
//! (`Loader::load_remote`).
//!
//! ```no_run
//! use eft::{Prompt, Sampling};
//!
//! let large = eft::load("Qwen/Qwen2.5-1.5B")?;
//! let tuned = eft::load("Qwen/Qwen2.5-0.5B-Instruct")?;
//! let untuned = eft::load("Qwen/Qwen2.5-0.5B")?;
//!
//! let upscaled = &large + (&tuned - &untuned);
//! for piece in upscaled.generate(Prompt::chat("How do magnets work?"), Sampling::default().seed(7))?.text()? {
//!     print!("{}", piece?.text);
//! }
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! # Weights are shared within a load
//! Each load has its own copy of the weights. Sources that differ only in adapter or prompt are made from one load, by
//! [`Source::adapter`] and [`Source::under`]: they share its weights, and run as rows of one forward pass.
//!
//! ```no_run
//! use eft::load::Loader;
//!
//! let base = Loader::new("base").adapter("pirate", "adapters/pirate").adapter("poet", "adapters/poet").load()?;
//! let both = &base + 0.7 * (base.adapter("pirate")? - &base) + 0.3 * (base.adapter("poet")? - &base);
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! An adapter is a folder of PEFT's or a GGUF file of llama.cpp's. [`Loader::adapters`] adds several of them to one, in the
//! model's weights.
//!
//! # Models on the hub
//! The revision (`main`, or [`Loader::revision`]) is resolved to a commit once, and every file is taken from that
//! commit, so a model never mixes the files of two revisions. Files of the commit that are in the cache are not
//! downloaded again. While the hub does not answer, the commit in the cache is loaded and a [`Warning`] says so; if the
//! hub refuses (a private, gated or unknown model), that is an error.
//!
//! A gated model needs the token of an account that has agreed to its terms, in `HF_TOKEN`. As in Hugging Face's
//! libraries, `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_CACHE` are respected.
//!
//! # The files must not change
//! Weights are mapped into memory. A file must not be changed or truncated in place as long as the model exists: that
//! would be undefined behaviour. Replacing it, by renaming another file to its name, is fine.
//!
//! # Warnings
//! A load can succeed and still have something to report: see [`Warning`]. Warnings are printed to standard error
//! unless [`Loader::on_warning`] sets another function.
mod defaults;
mod error;
mod folder;
#[cfg(feature = "candle")]
mod gguf;
#[cfg(feature = "hub")]
mod hub;
mod loader;
mod model;
#[cfg(feature = "ort")]
mod onnx;
#[cfg(feature = "remote")]
mod remote;
mod resolve;
mod sidecar;
mod warning;

#[cfg(feature = "candle")]
use eft_backend_candle::{Candle, CandleNn};
#[cfg(any(feature = "candle", doc))]
use eft_core::Source;
use eft_models::Nn;

pub use defaults::GenerationDefaults;
pub use error::{Error, Result};
pub use loader::Loader;
pub use model::Model;
#[cfg(feature = "remote")]
pub use remote::RemoteModel;
pub use warning::Warning;

use resolve::{Resolved, resolve};

/// Loads a model by name, to run on the processor by candle: see the [module](self).
///
/// ```
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/tuned-small");
/// let tuned = eft::load(folder)?;
/// let decoding = eft::Decoding::from(eft::Sampling::greedy()).max_tokens(20);
/// let text: String = tuned.generate("Who is", decoding)?.text()?.collect::<eft::Result<_>>()?;
/// assert!(!text.is_empty());
/// # Ok::<(), eft::Error>(())
/// ```
///
/// # The files must not change
/// Weights are mapped into memory. The files must not be changed or truncated in place as long as the model exists:
/// that would be undefined behaviour. Replacing a file by renaming another to its name is fine.
///
/// # Errors
/// * [`Error::NotFound`] if the name is neither a folder or file that can be loaded nor an id on the hub.
/// * [`Error::Hub`] if a file of the model cannot be obtained from the hub or its cache.
/// * [`Error::Files`] if a file is missing, broken or not supported.
/// * [`Error::Core`] if the files contradict each other, for example if the width of a vocabulary is not that of the
///   model's logits.
#[cfg(feature = "candle")]
pub fn load(name: impl Into<String>) -> Result<Source<Candle>> {
    Loader::new(name).load()
}

impl Loader {
    /// Loads the model, to run on the processor by candle.
    ///
    /// # Errors
    /// * [`Error::NotFound`] if the name is neither a folder or file that can be loaded nor an id on the hub.
    /// * [`Error::Hub`] if a file of the model cannot be obtained from the hub or its cache.
    /// * [`Error::Files`] if a file or an adapter is missing, broken or not supported.
    /// * [`Error::Core`] if the files contradict each other, or the vocabulary does not fit the model.
    #[cfg(feature = "candle")]
    pub fn load(&self) -> Result<Source<Candle>> {
        Ok(self.load_on(CandleNn::new(Candle::cpu()))?.source)
    }

    /// Loads the model, to run by a tensor library: by candle with settings of its own, such as a GPU or quantised weights
    /// (`CandleNn`), by libtorch (`TorchNn`), or by another implementation of [`Nn`].
    ///
    /// # Errors
    /// * [`Error::NotFound`] if the name is neither a folder or file that can be loaded nor an id on the hub.
    /// * [`Error::Hub`] if a file of the model cannot be obtained from the hub or its cache.
    /// * [`Error::Files`] if a file or an adapter is missing, broken or not supported.
    /// * [`Error::Core`] if the files contradict each other, the vocabulary does not fit the model, or the library
    ///   fails.
    pub fn load_on<N: Nn>(&self, nn: N) -> Result<Model<N::Backend>> {
        self.on_warning.check_optimised();
        #[cfg(feature = "remote")]
        if remote::is_url(&self.name) {
            return Ok(self.load_remote(nn.backend().clone())?.into());
        }
        match resolve(self)? {
            (Resolved::Folder(path), name) => folder::load(self, nn, &path, name),
            #[cfg(feature = "candle")]
            (Resolved::Gguf(path), name) => gguf::load(self, nn, &path, name),
        }
    }
}
