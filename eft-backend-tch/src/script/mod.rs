//! TorchScript modules as models: code of one's own, exported from Python, run without it.
//!
//! # The calling convention
//! A module has a method
//!
//! ```python
//! def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, past: List[Tensor]) -> Tuple[Tensor, List[Tensor]]:
//! ```
//!
//! | | shape, type |
//! | --- | --- |
//! | `ids` | rows × new, int64 |
//! | `positions` | rows × new, int64: how many tokens of its row come before each |
//! | `mask` | rows × (slots + new), bool: false where nothing may look |
//! | `past` | any number of tensors, each of rows × heads × slots × width; none at the first pass |
//! | logits | rows × new × vocabulary, of any floating-point type |
//! | present | `past`, with the new slots behind the old ones |
//!
//! Queries see the slots before them and their own, less those that the mask leaves out. A module without a cache
//! returns logits and an empty list, or logits alone, and is given all tokens each time. Modules must be scripted, not
//! traced: a trace has fixed the shapes it was made with. `scripts/export.py` of this crate shows how.
//!
//! What a module does is its own: it is tried out with a few tokens as it is loaded, and refused if logits over a cache
//! are not those of the same tokens at once. One that does not leave out what the mask leaves out still runs, its rows
//! in passes of their own.
//!
//! ```no_run
//! use eft_backend_tch::{ScriptOptions, Torch, load_script};
//! use eft_core::{Sampling, Vocab};
//!
//! let vocab = Vocab::anonymous("mine", 32_000)?.with_eos([2])?;
//! let options = ScriptOptions::default().context(4096);
//! let model = load_script("model.pt", &Torch::cpu(), &options, Some(vocab))?;
//! let text = model.generate([1, 5, 9], Sampling::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod error;
mod graph;

pub use error::ScriptError;

use std::path::Path;

use eft_core::{Source, Vocab};
use eft_models::graph::{GraphEngine, GraphSettings};

use crate::Torch;
use graph::Script;

/// What a module does not tell of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScriptOptions {
    name: Option<String>,
    context: Option<usize>,
    window: bool,
    pass: Option<usize>,
}

impl ScriptOptions {
    /// What the model is called in formulas and messages: by its file, unless told.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Tokens a row can hold, prompt included; without a limit unless told.
    pub fn context(self, tokens: usize) -> Self {
        Self { context: Some(tokens), ..self }
    }

    /// Some layers see the last few tokens only: rows then run in passes of their own, since windows count slots.
    pub fn sliding_window(self) -> Self {
        Self { window: true, ..self }
    }

    /// Tokens of one forward pass at most, over all rows; 256 unless given. Longer prompts are read in pieces, which
    /// bounds the memory that activations and logits take.
    pub fn pass(self, tokens: usize) -> Self {
        Self { pass: Some(tokens.max(1)), ..self }
    }
}

/// Loads a TorchScript module that keeps to the [calling convention](self). Takes prompts of token ids.
///
/// Models can be added only where they are given the same `vocab`, which is the caller's word that their ids mean the
/// same. Without one, a model relates to itself only.
///
/// # Errors
/// [`ScriptError::Unreadable`] for a file that libtorch does not load, [`ScriptError::Convention`] for a module that
/// does not keep to the convention, [`ScriptError::Core`] for a vocabulary of another width.
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
    let settings = GraphSettings::new(name).context(options.context).sliding_window(options.window);
    let settings = settings.bytes(script.bytes());
    let settings = if let Some(tokens) = options.pass { settings.max_tokens(tokens) } else { settings };
    let engine = GraphEngine::new(script, settings, None).map_err(|e| ScriptError::convention(file, e))?;
    let engine = if let Some(vocab) = vocab { engine.with_vocab(vocab)? } else { engine };
    Ok(Source::new(engine))
}
