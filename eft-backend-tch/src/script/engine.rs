//! [`ScriptEngine`]: a TorchScript module as an engine of `eft-core`.
use std::path::Path;
use std::sync::Arc;

use eft_core::{Engine, EngineRow, EngineSpec, Opened, Vocab};
use eft_models::graph::{GraphEngine, GraphSettings};

use super::error::ScriptError;
use super::graph::Script;
use super::options::ScriptOptions;
use crate::Torch;

/// A TorchScript module that follows the [calling convention](super), as an [`Engine`]. All sessions over it share the
/// weights.
///
/// [`load_script`](super::load_script) makes a source of one in a single call.
///
/// ```
/// use eft_backend_tch::{ScriptEngine, ScriptOptions, Torch};
/// use eft_core::{Sampling, Source};
///
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama.pt");
/// let engine = ScriptEngine::load(file, &Torch::cpu(), &ScriptOptions::default().context(128), None)?;
/// assert!(engine.warnings().is_empty() && engine.runs_rows_together());
/// assert_eq!(Source::new(engine).generate([1, 5, 9], Sampling::greedy())?.take(4).count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ScriptEngine {
    engine: GraphEngine<Script>,
}

impl ScriptEngine {
    /// Loads a module, and tests with a few tokens what its cache can do.
    ///
    /// Without a vocabulary the engine gets an anonymous one, named after the model, that matches no other.
    ///
    /// # Errors
    /// * [`ScriptError::Unreadable`] if libtorch cannot load the file.
    /// * [`ScriptError::Convention`] if the module does not follow the calling convention.
    /// * [`ScriptError::Core`] if the vocabulary and the logits differ in width.
    pub fn load(
        file: impl AsRef<Path>,
        torch: &Torch,
        options: &ScriptOptions,
        vocab: Option<Arc<Vocab>>,
    ) -> Result<Self, ScriptError> {
        let file = file.as_ref();
        let stem = || file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let name = options.name.clone().unwrap_or_else(stem);
        let script = Script::load(file, name.clone(), *torch)?;
        let settings = GraphSettings::new(name)
            .context(options.context)
            .bytes(script.bytes())
            .sliding_window(options.sliding_window);
        let settings = match options.max_pass_tokens {
            Some(tokens) => settings.max_tokens(tokens),
            None => settings,
        };
        let engine = GraphEngine::new(script, settings, None)
            .map_err(|source| ScriptError::Convention { file: file.into(), source: Box::new(source) })?;
        let engine = if let Some(vocab) = vocab { engine.with_vocab(vocab)? } else { engine };
        Ok(Self { engine })
    }

    /// Returns what may be wrong with the model, as sentences; empty if nothing was found. Show them to the user:
    /// nothing is printed.
    pub fn warnings(&self) -> &[String] {
        self.engine.warnings()
    }

    /// Returns whether rows of different length run in one pass; if not, each row runs in a pass of its own.
    pub fn runs_rows_together(&self) -> bool {
        self.engine.runs_rows_together()
    }
}

impl Engine for ScriptEngine {
    type Backend = Torch;

    fn spec(&self) -> &EngineSpec<Torch> {
        self.engine.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> eft_core::Result<Opened<Torch>> {
        self.engine.open(rows)
    }
}
