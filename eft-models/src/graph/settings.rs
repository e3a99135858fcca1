//! [`GraphSettings`]: facts about a model that its graph does not contain.
use eft_core::TokenId;

/// Facts about a model that its graph does not contain.
///
/// ```
/// use eft_models::graph::GraphSettings;
///
/// let settings = GraphSettings::new("my-model").context(4096).eos([2]).sliding_window(true);
/// assert_eq!((settings.context, settings.max_tokens), (Some(4096), 256));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct GraphSettings {
    /// The model's name, for messages and for formulas of combined models.
    pub name: String,
    /// How many tokens a row can hold, prompt included; `None`, the default, for no limit.
    pub context: Option<usize>,
    /// The end-of-sequence ids of the anonymous vocabulary that is used if none is given; empty by default.
    pub eos: Vec<TokenId>,
    /// How many bytes of weights one forward pass reads; 0, the default, if unknown.
    pub bytes: u64,
    /// Whether some layers attend to the last few tokens only; `false` by default.
    pub sliding_window: bool,
    /// The largest number of tokens in one forward pass, over all rows; 256 by default. Longer prompts are read in
    /// several passes, which bounds the memory that activations and logits take.
    pub max_tokens: usize,
}

impl GraphSettings {
    /// Creates the default settings for a model of the given name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { name, context: None, eos: Vec::new(), bytes: 0, sliding_window: false, max_tokens: 256 }
    }

    /// Sets how many tokens a row can hold, prompt included.
    pub fn context(self, tokens: impl Into<Option<usize>>) -> Self {
        Self { context: tokens.into(), ..self }
    }

    /// Sets the end-of-sequence ids of the anonymous vocabulary that is used if none is given.
    pub fn eos(self, ids: impl Into<Vec<TokenId>>) -> Self {
        Self { eos: ids.into(), ..self }
    }

    /// Sets how many bytes of weights one forward pass reads.
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets whether some layers attend to the last few tokens only. Each row then runs in a separate pass, since such
    /// windows count slots.
    pub fn sliding_window(self, sliding_window: bool) -> Self {
        Self { sliding_window, ..self }
    }

    /// Sets the largest number of tokens in one forward pass, over all rows; at least 1.
    pub fn max_tokens(self, tokens: usize) -> Self {
        Self { max_tokens: tokens.max(1), ..self }
    }
}
