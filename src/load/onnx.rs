//! Loading ONNX files.
use std::sync::Arc;

use eft_backend_ort::{OnnxEngine, Ort};
use eft_core::{Engine, Error as CoreError};

use super::error::Result;
use super::loader::Loader;
use super::model::{Model, chosen_vocab};
use super::resolve::resolve_onnx;
use super::sidecar;
use super::warning::Warning;

impl Loader {
    /// Loads the model from an ONNX file, to run by ONNX Runtime.
    ///
    /// The name is then a `.onnx` file, a folder as Optimum and onnx-community lay it out, or an id on the hub. Of a
    /// repository with several ONNX files the first of the usual ones is loaded; another is named as in
    /// `organisation/model:onnx/model_q4.onnx`. The tokenizer, the chat template and the end-of-sequence ids are read
    /// from the files around it.
    ///
    /// ```no_run
    /// use eft::load::Loader;
    /// use eft::ort::Ort;
    ///
    /// let ort = Ort::cpu()?;
    /// let tuned = Loader::new("onnx-community/Qwen2.5-0.5B-Instruct").load_onnx(&ort)?.source;
    /// # Ok::<(), eft::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::NotFound`](super::Error::NotFound) if the name is neither a folder or file nor an id on the hub.
    /// * [`Error::Hub`](super::Error::Hub) if a file cannot be obtained from the hub or its cache.
    /// * [`Error::Onnx`](super::Error::Onnx) if the file is broken or not a decoder.
    /// * [`Error::Files`](super::Error::Files) if the tokenizer or the template is broken or not supported.
    /// * [`Error::Core`](super::Error::Core) if the loader has adapters, which an ONNX file cannot take.
    pub fn load_onnx(&self, ort: &Ort) -> Result<Model<Ort>> {
        if let Some((adapter, _)) = self.adapters.first() {
            let what = format!("adapters: merge `{adapter}` into the model before it is exported");
            let who = format!("`{}` as an ONNX file", self.name);
            return Err(CoreError::Unsupported { who, what }.into());
        }
        self.on_warning.check_optimised();
        let (path, name) = resolve_onnx(self)?;
        let engine = OnnxEngine::load(path, ort, None)?;
        let name = name.unwrap_or_else(|| engine.spec().name.clone());
        let engine = engine.named(&name);
        for finding in engine.warnings() {
            self.on_warning.warn(&Warning::Suspect { model: name.clone(), finding: finding.clone() });
        }
        // An ONNX file may be in a subfolder of the one that holds the tokenizer.
        let folders = engine.folders();
        let folder = folders.iter().find(|folder| folder.join("tokenizer.json").exists());
        let folder = folder.or(folders.last()).cloned().unwrap_or_default();
        let placeholder = &engine.spec().vocab;
        let eos: Vec<_> = placeholder.eos().iter().copied().collect();
        let (vocab, renderer) = sidecar::read(self, &folder, name, placeholder.width(), &eos)?.unzip();
        let engine = match chosen_vocab(self, vocab.map(Arc::new)) {
            Some(vocab) => engine.with_vocab(vocab)?,
            None => engine,
        };
        Model::new(engine, renderer)?.with_defaults(&folder)
    }
}
