use eft_core::Prompt;
use serde::{Deserialize, Serialize};

use super::item::Item;
use crate::Result;

/// How the log-likelihoods of choices are compared.
///
/// ```
/// use eft_eval::{Choices, LengthNorm};
///
/// let choices = Choices::default().norm(LengthNorm::Token).delimiter(" ");
/// # let _ = choices;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[must_use]
pub struct Choices {
    norm: LengthNorm,
    delimiter: Option<String>,
}

/// What the log-likelihood of a choice is divided by before choices are compared. Results hold all three; this is the
/// one that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LengthNorm {
    /// Nothing. The default.
    #[default]
    None,
    /// The number of tokens of the choice.
    Token,
    /// The number of bytes of the choice, without the delimiter, so that models with other tokenizers compare.
    Byte,
}

impl Choices {
    /// Sets what the log-likelihood of a choice is divided by.
    pub fn norm(mut self, norm: LengthNorm) -> Self {
        self.norm = norm;
        self
    }

    /// Sets what is written between the prompt and each choice. By default it is a space after a prompt that is text,
    /// and nothing in a conversation.
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// The choices of an item as they follow its prompt.
    pub(crate) fn continuations(&self, item: &Item) -> Vec<String> {
        let by_default = if matches!(item.prompt, Some(Prompt::Text(_))) { " " } else { "" };
        let delimiter = self.delimiter.as_deref().unwrap_or(by_default);
        item.choices.iter().map(|choice| format!("{delimiter}{choice}")).collect()
    }

    pub(super) fn check(item: &Item) -> Result<()> {
        item.needs_prompt()?;
        if item.choices.len() < 2 {
            return Err(item.fault("choices", "there must be at least two"));
        }
        if item.choices.iter().any(String::is_empty) {
            return Err(item.fault("choices", "one of them is empty"));
        }
        match item.label {
            None => Err(item.fault("label", "it is missing")),
            Some(label) if label >= item.choices.len() => {
                Err(item.fault("label", format!("must be below {}, but is {label}", item.choices.len())))
            }
            Some(_) => Ok(()),
        }
    }
}
