//! TorchScript modules as models: your own model code, exported from Python and run without it.
//!
//! # The calling convention
//! A module has this method:
//!
//! ```python
//! def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
//! ```
//!
//! | | shape, type |
//! | --- | --- |
//! | `ids` | rows × new, int64 |
//! | `positions` | rows × new, int64: the number of tokens before each one in its row |
//! | `mask` | rows × (slots + new), bool: false for masked slots, which no query may attend to |
//! | `past` | a list of tensors, each rows × heads × slots × width; empty in the first pass |
//! | logits | rows × new × vocabulary, of any floating-point type |
//! | present | the tensors of `past` with the new slots after the old ones |
//!
//! A query attends to its own slot and those before it, except masked ones. A module without a cache returns logits and
//! an empty list, or logits alone, and is fed all tokens in each pass. Modules must be scripted, not traced, since a
//! trace is valid only for the shapes that it was made with. `scripts/export.py` of this crate is an example.
//!
//! A module is tested with a few tokens when it is loaded, and refused if its logits with a cache differ from those
//! without. If it attends to masked slots it is accepted, and each row runs in a separate pass.
mod error;
mod graph;

pub use error::ScriptError;

use std::path::Path;

use eft_core::{Source, Vocab};
use eft_models::graph::{GraphEngine, GraphSettings};

use crate::Torch;
use graph::Script;

/// Facts about a model that a TorchScript file does not contain.
///
/// ```
/// use eft_backend_tch::ScriptOptions;
///
/// let options = ScriptOptions::default().named("mine").context(4096).max_pass_tokens(512);
/// assert_ne!(options, ScriptOptions::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ScriptOptions {
    name: Option<String>,
    context: Option<usize>,
    sliding_window: bool,
    max_pass_tokens: Option<usize>,
}

impl ScriptOptions {
    /// Sets the model's name in formulas and messages; the default is the file's name without its extension.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the largest number of tokens in a row, prompt included; the default is no limit.
    pub fn context(self, tokens: usize) -> Self {
        Self { context: Some(tokens), ..self }
    }

    /// Declares that some layers attend to a sliding window. Each row then runs in a separate pass, since a window
    /// counts slots, and some of the slots that rows share are masked.
    pub fn sliding_window(self) -> Self {
        Self { sliding_window: true, ..self }
    }

    /// Sets the largest number of tokens in one forward pass, over all rows; the default is 256, the least is 1.
    ///
    /// Longer prompts are fed in several passes, which bounds the memory for activations and logits.
    pub fn max_pass_tokens(self, tokens: usize) -> Self {
        Self { max_pass_tokens: Some(tokens.max(1)), ..self }
    }
}

/// Loads a TorchScript module that follows the [calling convention](self). The source takes prompts of token ids.
///
/// Only sources over one vocabulary can be combined. So give all models the same `vocab`, and make sure that their ids
/// mean the same tokens: this function cannot check it. Without a `vocab`, a model can be combined with itself only.
///
/// ```
/// use eft_backend_tch::{ScriptOptions, Torch, load_script};
/// use eft_core::Sampling;
///
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama.pt");
/// let model = load_script(file, &Torch::cpu(), &ScriptOptions::default().context(128), None)?;
/// assert_eq!(model.generate([1, 5, 9], Sampling::greedy())?.take(4).count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// * [`ScriptError::Unreadable`] if libtorch cannot load the file.
/// * [`ScriptError::Convention`] if the module does not follow the calling convention.
/// * [`ScriptError::Core`] if `vocab` and the logits differ in width.
pub fn load_script(
    file: impl AsRef<Path>,
    torch: &Torch,
    options: &ScriptOptions,
    vocab: Option<Vocab>,
) -> Result<Source<Torch>, ScriptError> {
    let file = file.as_ref();
    let stem = || file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let name = options.name.clone().unwrap_or_else(stem);
    let script = Script::load(file, name.clone(), *torch)?;
    let settings = GraphSettings::new(name).context(options.context).sliding_window(options.sliding_window);
    let settings = settings.bytes(script.bytes());
    let settings =
        if let Some(tokens) = options.max_pass_tokens { settings.max_tokens(tokens) } else { settings };
    let engine = GraphEngine::new(script, settings, None)
        .map_err(|source| ScriptError::Convention { file: file.into(), source })?;
    let engine = if let Some(vocab) = vocab { engine.with_vocab(vocab)? } else { engine };
    Ok(Source::new(engine))
}
