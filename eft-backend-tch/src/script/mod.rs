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
mod engine;
mod error;
mod graph;
mod options;

pub use engine::ScriptEngine;
pub use error::ScriptError;
pub use options::ScriptOptions;

use std::path::Path;
use std::sync::Arc;

use eft_core::{Source, Vocab};

use crate::Torch;

/// Loads a TorchScript module that follows the [calling convention](self). The source takes prompts of token ids.
///
/// Only sources over one vocabulary can be combined. So give all models the same `vocab`, and make sure that their ids
/// mean the same tokens: this function cannot check it. Without a `vocab`, a model can be combined with itself only.
///
/// [`ScriptEngine::load`] also gives access to the [warnings](ScriptEngine::warnings) of the test.
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
    Ok(Source::new(ScriptEngine::load(file, torch, options, vocab.map(Arc::new))?))
}
