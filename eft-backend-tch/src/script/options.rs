//! [`ScriptOptions`]: what a TorchScript file does not say about its model.

/// What a TorchScript file does not say about its model.
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
    pub(super) name: Option<String>,
    pub(super) context: Option<usize>,
    pub(super) sliding_window: bool,
    pub(super) max_pass_tokens: Option<usize>,
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

    /// Declares that some layers attend to a sliding window. Each row then runs in a pass of its own, since a window
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
