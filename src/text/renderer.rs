//! [`TextRenderer`]: a model's way from prompts to token ids.
//!
//! ```
//! use eft::text::{TextRenderer, Tokenizer};
//! use eft::{Error, Prompt, Renderer};
//!
//! let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
//! let renderer = TextRenderer::new(tokenizer);
//! assert!(renderer.render("base", &"Once upon a time".into()).is_ok());
//! let refused = renderer.render("base", &Prompt::chat("Hi!"));
//! assert!(matches!(refused, Err(Error::CannotRender { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::sync::Arc;

use eft_core::{Error, Message, Prompt, Renderer, Result, TokenId};

use super::{ChatTemplate, PlainTemplate, Tokenizer};

/// A tokenizer, and a template where there is one.
///
/// Text is rendered as what begins a sequence. Conversations are rendered by the template: a chat template writes all
/// special tokens itself, as it does for transformers, a plain one none. A conversation that ends with a message by
/// the assistant goes on within it.
#[derive(Debug, Clone)]
pub struct TextRenderer {
    tokenizer: Arc<Tokenizer>,
    template: Template,
}

#[derive(Debug, Clone)]
enum Template {
    None,
    Chat(Arc<ChatTemplate>),
    Plain(PlainTemplate),
}

impl TextRenderer {
    /// Without a template: for token ids and text.
    pub fn new(tokenizer: impl Into<Arc<Tokenizer>>) -> Self {
        Self { tokenizer: tokenizer.into(), template: Template::None }
    }

    /// With the template that a model was tuned with.
    pub fn chat(mut self, template: impl Into<Arc<ChatTemplate>>) -> Self {
        self.template = Template::Chat(template.into());
        self
    }

    /// With a plain template, for a base model.
    pub fn plain(mut self, template: PlainTemplate) -> Self {
        self.template = Template::Plain(template);
        self
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The text that a conversation becomes, special tokens written out.
    ///
    /// # Errors
    /// [`Error::CannotRender`] without messages or a template, or with what the template says.
    pub fn text(&self, term: &str, messages: &[Message]) -> Result<String> {
        let cannot = |missing| Error::CannotRender { term: term.into(), what: "a conversation", missing };
        if messages.is_empty() {
            return Err(cannot("it has no messages".into()));
        }
        match &self.template {
            Template::None => {
                Err(cannot("the model has no chat template; give it one, or a plain one".into()))
            }
            Template::Chat(template) => template.render(messages).map_err(cannot),
            Template::Plain(template) => Ok(template.render(messages)),
        }
    }
}

impl Renderer for TextRenderer {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text(text) => self.tokenizer.encode(text, true),
            Prompt::Chat(messages) => {
                let whole = !matches!(self.template, Template::Chat(_));
                self.tokenizer.encode(&self.text(term, messages)?, whole)
            }
        }
    }

    /// Encoded as any text is, without what begins a sequence. A tokenizer that puts a space before every text does
    /// so here, too.
    fn continuation(&self, _term: &str, text: &str) -> Result<Vec<TokenId>> {
        self.tokenizer.encode(text, false)
    }
}
