//! [`Prompt`]: what a text begins with, before any model's tokenizer or template has seen it.
//!
//! Each model of a combination renders the prompt its own way: a tuned model wants its chat template where a base
//! model wants plain text. So a combination is opened on prompts, and each leaf makes token ids of them.
//!
//! ```
//! use eft_core::{Message, Prompt};
//!
//! let _ids: Prompt = vec![3, 1, 4].into();
//! let _text: Prompt = "How do magnets work?".into();
//! let chat = Prompt::chat("How do magnets work?");
//! assert_eq!(chat, Prompt::Chat(vec![Message::new("user", "How do magnets work?")]));
//! ```
use std::fmt::Debug;
use std::sync::Arc;

use crate::{Error, Result, TokenId};

/// What a text begins with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Prompt {
    /// Token ids, used as they are.
    Tokens(Vec<TokenId>),
    /// Plain text, for a tokenizer.
    Text(String),
    /// A conversation, for a chat template and a tokenizer.
    Chat(Vec<Message>),
}

impl Prompt {
    /// A conversation of one message by the user.
    pub fn chat(text: impl Into<String>) -> Self {
        Self::Chat(vec![Message::new("user", text)])
    }

    /// The same prompt under a system message, which comes first. Plain text becomes a conversation.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for token ids, which have no messages.
    pub fn with_system(&self, text: impl Into<String>) -> Result<Self> {
        let mut messages = match self {
            Self::Chat(messages) => messages.clone(),
            Self::Text(text) => vec![Message::new("user", text)],
            Self::Tokens(_) => {
                return Err(Error::Unsupported {
                    who: "a prompt of token ids".into(),
                    what: "a system message".into(),
                });
            }
        };
        messages.retain(|m| m.role != "system");
        messages.insert(0, Message::new("system", text));
        Ok(Self::Chat(messages))
    }

    /// What form it has, for messages.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Tokens(_) => "token ids",
            Self::Text(_) => "text",
            Self::Chat(_) => "a conversation",
        }
    }
}

impl From<Vec<TokenId>> for Prompt {
    fn from(tokens: Vec<TokenId>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<&[TokenId]> for Prompt {
    fn from(tokens: &[TokenId]) -> Self {
        Self::Tokens(tokens.into())
    }
}

impl<const N: usize> From<[TokenId; N]> for Prompt {
    fn from(tokens: [TokenId; N]) -> Self {
        Self::Tokens(tokens.into())
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Vec<TokenId>> for Prompt {
    fn from(tokens: &Vec<TokenId>) -> Self {
        Self::Tokens(tokens.clone())
    }
}

impl<const N: usize> From<&[TokenId; N]> for Prompt {
    fn from(tokens: &[TokenId; N]) -> Self {
        Self::Tokens(tokens.into())
    }
}

impl From<&Prompt> for Prompt {
    fn from(prompt: &Prompt) -> Self {
        prompt.clone()
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// `system`, `user`, `assistant`, or whatever the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message by `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// Makes token ids of a prompt, in the way one model was trained on: its tokenizer, its template.
pub trait Renderer: Send + Sync {
    /// The ids. `term` names the model, for errors.
    ///
    /// # Errors
    /// [`Error::CannotRender`] for a form of prompt that the model has no tokenizer or template for.
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>>;

    /// The ids of text that goes on behind a rendered prompt: no template, and no token that begins a text. Search
    /// asks for it where a guide reads what a model of other tokens has written.
    ///
    /// # Errors
    /// [`Error::CannotRender`] for a model without a tokenizer, as by default.
    fn continuation(&self, term: &str, text: &str) -> Result<Vec<TokenId>> {
        let _ = text;
        Err(Error::CannotRender {
            term: term.into(),
            what: "text behind a prompt",
            missing: "its renderer has no tokenizer for it".into(),
        })
    }
}

/// The renderer of a model without a tokenizer: takes token ids and nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokensOnly;

impl Renderer for TokensOnly {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text(_) | Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "it has no tokenizer, only token ids will do".into(),
            }),
        }
    }
}

/// A change of the prompt for the part of a combination it is applied to: see
/// [`Source::under`](crate::Source::under).
///
/// ```
/// use eft_core::{Prompt, PromptTransform};
///
/// let shout = PromptTransform::new(|prompt| match prompt {
///     Prompt::Text(text) => Ok(Prompt::Text(text.to_uppercase())),
///     other => Ok(other.clone()),
/// });
/// assert_eq!(shout.apply(&"hey".into())?, "HEY".into());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Clone)]
pub struct PromptTransform(Arc<Change>);

type Change = dyn Fn(&Prompt) -> Result<Prompt> + Send + Sync;

impl PromptTransform {
    /// Any function of the prompt.
    pub fn new(f: impl Fn(&Prompt) -> Result<Prompt> + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Another prompt altogether, the same for every row.
    pub fn fixed(prompt: impl Into<Prompt>) -> Self {
        let prompt = prompt.into();
        Self::new(move |_| Ok(prompt.clone()))
    }

    /// The conversation under a system message: see [`Prompt::with_system`].
    pub fn system(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(move |prompt| prompt.with_system(&text))
    }

    /// Token ids before those of the prompt, which must be token ids too.
    pub fn prefix(tokens: impl Into<Vec<TokenId>>) -> Self {
        let before = tokens.into();
        Self::new(move |prompt| match prompt {
            Prompt::Tokens(tokens) => Ok(Prompt::Tokens([&before[..], tokens].concat())),
            Prompt::Text(_) | Prompt::Chat(_) => {
                Err(Error::Unsupported { who: prompt.form().into(), what: "a prefix of token ids".into() })
            }
        })
    }

    /// Text before that of the prompt, which must be text, too.
    pub fn preamble(text: impl Into<String>) -> Self {
        let before = text.into();
        Self::new(move |prompt| match prompt {
            Prompt::Text(text) => Ok(Prompt::Text(format!("{before}{text}"))),
            Prompt::Tokens(_) | Prompt::Chat(_) => {
                Err(Error::Unsupported { who: prompt.form().into(), what: "a preamble of text".into() })
            }
        })
    }

    /// The changed prompt.
    ///
    /// # Errors
    /// Those of the function.
    pub fn apply(&self, prompt: &Prompt) -> Result<Prompt> {
        (self.0)(prompt)
    }
}

impl Debug for PromptTransform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PromptTransform(..)")
    }
}
