//! ONNX files.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_backend_ort::{OnnxEngine, Ort};
use eft_core::{Engine, Error as CoreError};

use super::{Loader, Model, Result, beside};

impl Loader {
    /// Loads the model from an ONNX file, to run by ONNX Runtime.
    ///
    /// A name is then a `.onnx` file, a folder as Optimum and onnx-community lay it out, or an id on the hub; a file
    /// that is not the first of the usual ones there is named as `organisation/model:onnx/model_q4.onnx`. The
    /// tokenizer, the chat template and what ends a text are read from around it.
    ///
    /// ```no_run
    /// use eft::load::Loader;
    /// use eft::ort::Ort;
    ///
    /// let ort = Ort::cpu()?;
    /// let tuned = Loader::new("onnx-community/Qwen2.5-0.5B-Instruct").load_onnx(&ort)?.source;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Onnx`](super::Error::Onnx) for what is broken or no decoder, [`Error::Core`](super::Error::Core) for
    /// adapters, which an ONNX file cannot be given; the others as [`load_on`](Self::load_on).
    pub fn load_onnx(&self, ort: &Ort) -> Result<Model<Ort>> {
        if let Some((adapter, _)) = self.adapters.first() {
            let what =
                format!("adapters, and `{adapter}` is asked for: merge it before the model is exported");
            return Err(
                CoreError::Unsupported { who: format!("`{}` as an ONNX file", self.name), what }.into()
            );
        }
        let (path, name) = self.onnx_place()?;
        let engine = OnnxEngine::load(path, ort, None)?;
        let name = name.unwrap_or_else(|| engine.spec().name.clone());
        let engine = engine.named(&name);
        // An ONNX file may lie in a folder of its own, below what belongs to the model.
        let folders = engine.folders();
        let folder = folders.iter().find(|folder| folder.join("tokenizer.json").exists());
        let folder = folder.or(folders.last()).map_or(Path::new(""), PathBuf::as_path);
        let made_up = &engine.spec().vocab;
        let ends: Vec<_> = made_up.eos().iter().copied().collect();
        let (vocab, renderer) = beside::read(self, folder, name, made_up.width(), &ends)?.unzip();
        let engine = match self.vocabulary(vocab.map(Arc::new)) {
            Some(vocab) => engine.with_vocab(vocab)?,
            None => engine,
        };
        Model::new(engine, renderer)
    }
}
