//! [`Prompt`]: the beginning of a text, before a tokenizer or a chat template is applied.
//!
//! Each model of a combination renders the prompt in its own way: a tuned model may need its chat template where a base
//! model takes plain text. So combinations are opened on prompts, and each model's [`Renderer`] makes token ids of
//! them.
//!
//! ```
//! use eft_core::{Message, Prompt};
//!
//! let _ids: Prompt = vec![3, 1, 4].into();
//! let _text: Prompt = "How do magnets work?".into();
//! let chat = Prompt::chat("How do magnets work?");
//! assert_eq!(chat, Prompt::Chat(vec![Message::new("user", "How do magnets work?")]));
//! ```
//!
//! # Special tokens in texts
//! A special token that is spelled out in a text or in a message, such as a user's `<|im_end|>`, becomes the special token
//! when the rendered prompt is tokenized, as in transformers. So whoever writes a message can end it and begin another.
//! The option `literal_messages` of the facade's `TextRenderer` keeps such spellings in messages as text.
use std::fmt::Debug;
use std::sync::Arc;

use crate::canonical::Canonical;
use crate::{Error, Result, TokenId};

/// The beginning of a text, which models continue. Token ids, strings and references to them convert into it.
///
/// ```
/// use eft_core::Prompt;
///
/// assert_eq!(Prompt::from([3, 1, 4]), Prompt::Tokens(vec![3, 1, 4]));
/// assert_eq!(Prompt::from("Once upon a time").form(), "text");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Prompt {
    /// Token ids, used as they are.
    Tokens(Vec<TokenId>),
    /// Plain text, for a tokenizer.
    Text(String),
    /// A conversation, for a chat template and a tokenizer. Special tokens that are spelled out in a message become
    /// special tokens unless the renderer keeps them as text: see the [module](self).
    Chat(Vec<Message>),
}

impl Prompt {
    /// Returns a conversation that consists of one message by the user.
    pub fn chat(text: impl Into<String>) -> Self {
        Self::Chat(vec![Message::new("user", text)])
    }

    /// Returns the prompt as a conversation that begins with this system message, which replaces an earlier one. Plain
    /// text becomes a message by the user.
    ///
    /// ```
    /// use eft_core::{Message, Prompt};
    ///
    /// let prompt = Prompt::from("Who are you?").with_system("You are a pirate.")?;
    /// let messages = [("system", "You are a pirate."), ("user", "Who are you?")];
    /// assert_eq!(prompt, Prompt::Chat(messages.map(|(role, text)| Message::new(role, text)).into()));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the prompt is token ids, which have no messages.
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

    /// Returns the form of the prompt in words, for error messages.
    #[must_use]
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
///
/// ```
/// use eft_core::{Message, Prompt};
///
/// let conversation = vec![
///     Message::new("user", "What is 2 + 2?"),
///     Message::new("assistant", "4"),
///     Message::new("user", "And times 3?"),
/// ];
/// let prompt = Prompt::Chat(conversation);
/// # let _ = prompt;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Message {
    /// The speaker: `system`, `user`, `assistant`, or another role that the chat template supports.
    pub role: String,
    /// The text of the message. Special tokens that are spelled out in it become special tokens unless the renderer keeps
    /// them as text: see the [module](self).
    pub content: String,
    /// Further fields that the chat template reads, such as `tool_calls`: names, and values as JSON.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// Returns a message by this role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), fields: Vec::new() }
    }

    /// Adds a field that the chat template reads, such as `tool_calls`, with its value as JSON. A field `content`
    /// replaces the text of the message, for templates that read a list of parts; the value `null` removes it.
    ///
    /// ```
    /// use eft_core::Message;
    ///
    /// let call = r#"[{"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}]"#;
    /// let message = Message::new("assistant", "").field("tool_calls", call);
    /// assert_eq!(message.fields, [("tool_calls".to_owned(), call.to_owned())]);
    /// ```
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, json: impl Into<String>) -> Self {
        self.fields.push((name.into(), json.into()));
        self
    }
}

/// Makes token ids of a prompt in the way that one model was trained on, by its tokenizer and its chat template.
///
/// [`Source::rendered_by`](crate::Source::rendered_by) gives a model its renderer, and has an example.
pub trait Renderer: Send + Sync {
    /// Returns the token ids of a prompt. `term` is the name of the model, for errors.
    ///
    /// # Errors
    /// [`Error::CannotRender`] if the model has no tokenizer or template for this form of prompt.
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>>;

    /// Returns the token ids of text that follows a rendered prompt: without a template, and without a token that marks
    /// the beginning of a text. A search needs it if its guide has another vocabulary than the model that writes.
    ///
    /// # Errors
    /// [`Error::CannotRender`] if the model has no tokenizer. The default implementation returns it always.
    fn continuation(&self, term: &str, text: &str) -> Result<Vec<TokenId>> {
        let _ = text;
        Err(Error::CannotRender {
            term: term.into(),
            what: "text after a prompt",
            missing: "its renderer has no tokenizer for it".into(),
        })
    }

    /// Returns which sequences of tokens the model's tokenizer makes of texts. [`Source::bytes`](crate::Source::bytes) needs
    /// it.
    ///
    /// # Errors
    /// [`Error::CannotRender`] if the model has no tokenizer, or one of which this is not known. The default implementation
    /// returns it always.
    fn canonical(&self, term: &str) -> Result<Arc<dyn Canonical>> {
        Err(Error::CannotRender {
            term: term.into(),
            what: "text as bytes",
            missing: "it has no tokenizer, or its renderer does not say which tokens that makes of a text"
                .into(),
        })
    }
}

/// The renderer of a model without a tokenizer: it takes token ids and nothing else.
///
/// ```
/// use eft_core::{Renderer, TokensOnly};
///
/// assert_eq!(TokensOnly.render("model", &[3, 1, 4].into())?, [3, 1, 4]);
/// assert!(TokensOnly.render("model", &"text".into()).is_err());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TokensOnly;

impl Renderer for TokensOnly {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text(_) | Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "it has no tokenizer, so give it token ids".into(),
            }),
        }
    }
}

/// A function from prompts to prompts, for one part of a combination: see [`Source::under`](crate::Source::under).
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
#[must_use]
#[derive(Clone)]
pub struct PromptTransform {
    change: Arc<Change>,
    /// The transform as formulas write it, if they can.
    written: Option<Arc<str>>,
}

type Change = dyn Fn(&Prompt) -> Result<Prompt> + Send + Sync;

impl PromptTransform {
    /// Returns the transform that applies a function of your own. Printed combinations show it as `…`.
    pub fn new(f: impl Fn(&Prompt) -> Result<Prompt> + Send + Sync + 'static) -> Self {
        Self { change: Arc::new(f), written: None }
    }

    fn with_written(mut self, written: impl Into<Arc<str>>) -> Self {
        self.written = Some(written.into());
        self
    }

    /// The transform as formulas write it.
    pub(crate) fn written(&self) -> &str {
        self.written.as_deref().unwrap_or("…")
    }

    /// Returns the transform that replaces every prompt by this one.
    pub fn fixed(prompt: impl Into<Prompt>) -> Self {
        let prompt = prompt.into();
        let written = match &prompt {
            Prompt::Tokens(tokens) => Some(format!("prompt={tokens:?}")),
            Prompt::Text(text) => Some(format!("prompt={text:?}")),
            Prompt::Chat(_) => None,
        };
        let fixed = Self::new(move |_| Ok(prompt.clone()));
        written.into_iter().fold(fixed, Self::with_written)
    }

    /// Returns the transform that sets the system message: see [`Prompt::with_system`].
    pub fn system(text: impl Into<String>) -> Self {
        let text = text.into();
        let written = format!("{text:?}");
        Self::new(move |prompt| prompt.with_system(&text)).with_written(written)
    }

    /// Returns the transform that puts token ids before those of the prompt. It fails unless the prompt is token ids.
    pub fn prefix(tokens: impl Into<Vec<TokenId>>) -> Self {
        let before = tokens.into();
        let written = format!("prefix={before:?}");
        let transform = Self::new(move |prompt| match prompt {
            Prompt::Tokens(tokens) => Ok(Prompt::Tokens([&before[..], tokens].concat())),
            Prompt::Text(_) | Prompt::Chat(_) => {
                Err(Error::Unsupported { who: prompt.form().into(), what: "a prefix of token ids".into() })
            }
        });
        transform.with_written(written)
    }

    /// Returns the transform that puts text before that of the prompt. It fails unless the prompt is text.
    pub fn preamble(text: impl Into<String>) -> Self {
        let before = text.into();
        let written = format!("preamble={before:?}");
        let transform = Self::new(move |prompt| match prompt {
            Prompt::Text(text) => Ok(Prompt::Text(format!("{before}{text}"))),
            Prompt::Tokens(_) | Prompt::Chat(_) => {
                Err(Error::Unsupported { who: prompt.form().into(), what: "a preamble of text".into() })
            }
        });
        transform.with_written(written)
    }

    /// Returns the transformed prompt.
    ///
    /// # Errors
    /// Any error of the function.
    pub fn apply(&self, prompt: &Prompt) -> Result<Prompt> {
        (self.change)(prompt)
    }
}

impl Debug for PromptTransform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PromptTransform({})", self.written())
    }
}
