//! [`TextRenderer`]: makes token ids of a model's prompts.
use std::borrow::Cow;
use std::sync::Arc;

use eft_core::canonical::Canonical;
use eft_core::{Error, Message, Prompt, Renderer, Result, TokenId};

use super::chat::ChatTemplate;
use super::plain::PlainTemplate;
use super::tokenizer::Tokenizer;

/// A tokenizer and, if there is one, a template for conversations.
///
/// Plain text is encoded as the beginning of a sequence. A conversation is rendered by the template: a chat template
/// writes all special tokens itself, as in transformers; a plain template writes none. If the last message of a
/// conversation is the assistant's, it is left open, for the model to continue.
///
/// ```
/// use eft::text::{TextRenderer, Tokenizer};
/// use eft::{Error, Prompt, Renderer};
///
/// let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
/// let renderer = TextRenderer::new(tokenizer);
/// assert!(renderer.render("base", &"Once upon a time".into()).is_ok());
/// // Without a template, conversations are refused.
/// let refused = renderer.render("base", &Prompt::chat("Hi!"));
/// assert!(matches!(refused, Err(Error::CannotRender { .. })));
/// # Ok::<(), Error>(())
/// ```
///
/// # Special tokens in messages
/// A special token that is spelled out in a message, such as a user's `<|end|>`, becomes the special token, as in
/// transformers. So the author of a message can end it and begin another one.
/// [`literal_messages`](Self::literal_messages) keeps it as text.
#[derive(Debug, Clone)]
#[must_use]
pub struct TextRenderer {
    tokenizer: Arc<Tokenizer>,
    template: Template,
    literal_messages: bool,
}

#[derive(Debug, Clone)]
enum Template {
    None,
    Chat(Arc<ChatTemplate>),
    Plain(PlainTemplate),
}

impl TextRenderer {
    /// Creates a renderer without a template, which renders token ids and text only.
    pub fn new(tokenizer: impl Into<Arc<Tokenizer>>) -> Self {
        Self { tokenizer: tokenizer.into(), template: Template::None, literal_messages: false }
    }

    /// Renders conversations with the chat template that the model was tuned with.
    pub fn chat(mut self, template: impl Into<Arc<ChatTemplate>>) -> Self {
        self.template = Template::Chat(template.into());
        self
    }

    /// Renders conversations with a plain template, for a base model.
    pub fn plain(mut self, template: PlainTemplate) -> Self {
        self.template = Template::Plain(template);
        self
    }

    /// Keeps special tokens that are spelled out in messages as text: they are encoded as ordinary tokens, while those
    /// that the template writes become special tokens. This applies to the tokens that the tokenizer marks as special.
    ///
    /// A conversation is refused with [`Error::CannotRender`] if a message spells out a special token and the template
    /// treats that message specially, such as by splitting it at the token.
    ///
    /// ```
    /// use eft::text::{ChatTemplate, TextRenderer, Tokenizer};
    /// use eft::{Prompt, Renderer};
    ///
    /// let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
    /// let end = tokenizer.id("<|end|>").unwrap();
    /// let template = ChatTemplate::new("example", "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")?;
    /// let renderer = TextRenderer::new(tokenizer).chat(template);
    ///
    /// let ends = |renderer: &TextRenderer| -> eft::Result<usize> {
    ///     let ids = renderer.render("tuned", &Prompt::chat("What does <|end|> mean?"))?;
    ///     Ok(ids.iter().filter(|id| **id == end).count())
    /// };
    /// assert_eq!(ends(&renderer)?, 2);
    /// assert_eq!(ends(&renderer.literal_messages())?, 1);
    /// # Ok::<(), eft::Error>(())
    /// ```
    pub fn literal_messages(mut self) -> Self {
        self.literal_messages = true;
        self
    }

    /// Returns the added token, such as `<|im_end|>`, with which the chat template ends the assistant's turn; `None` if
    /// there is no chat template, or it ends turns without such a token.
    ///
    /// ```
    /// use eft::text::{ChatTemplate, TextRenderer, Tokenizer};
    ///
    /// let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
    /// let end = tokenizer.id("<|end|>");
    /// let template = ChatTemplate::new("example", "{% for m in messages %}{{ m.content }} <|end|>{% endfor %}")?;
    /// assert_eq!(TextRenderer::new(tokenizer).chat(template).end_of_turn(), end);
    /// # Ok::<(), eft::Error>(())
    /// ```
    pub fn end_of_turn(&self) -> Option<TokenId> {
        let Template::Chat(template) = &self.template else { return None };
        let talk = [("user", "A"), ("assistant", ANSWER), ("user", "B")];
        let text = template.render(&talk.map(|(role, text)| Message::new(role, text))).ok()?;
        let (_, after) = text.split_once(ANSWER)?;
        let ids = self.tokenizer.encode(after.trim_start(), false).ok()?;
        ids.first().copied().filter(|id| self.tokenizer.is_added(*id))
    }

    /// Returns whether there is a template for conversations.
    pub fn has_template(&self) -> bool {
        !matches!(self.template, Template::None)
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Returns the text that a conversation becomes, with special tokens spelled out. `term` names the model in errors.
    ///
    /// # Errors
    /// [`Error::CannotRender`] if `messages` is empty, if the renderer has no template, or if the template fails.
    pub fn text(&self, term: &str, messages: &[Message]) -> Result<String> {
        if messages.is_empty() {
            return Err(cannot(term, "it has no messages"));
        }
        match &self.template {
            Template::None => {
                Err(cannot(term, "the model has no chat template; give it one, or a plain template"))
            }
            Template::Chat(template) => template.render(messages).map_err(|reason| cannot(term, reason)),
            Template::Plain(template) => match messages.iter().find_map(|message| message.fields.first()) {
                Some((name, _)) => Err(cannot(term, format!("a plain template has no place for `{name}`"))),
                None => Ok(template.render(messages)),
            },
        }
    }

    fn conversation(&self, term: &str, messages: &[Message]) -> Result<Vec<TokenId>> {
        let text = self.text(term, messages)?;
        let whole = !matches!(self.template, Template::Chat(_));
        if !self.literal_messages {
            return self.tokenizer.encode(&text, whole);
        }
        let marked = messages.iter().map(|message| self.marked(message));
        let marked = marked.collect::<Result<Vec<_>, _>>().map_err(|reason| cannot(term, reason))?;
        if marked == messages {
            return self.tokenizer.encode(&text, whole);
        }
        let marked = self.text(term, &marked)?;
        if Tokenizer::unmark(&marked) != text {
            return Err(cannot(
                term,
                "its template does not insert messages that spell out special tokens as they are",
            ));
        }
        self.tokenizer.encode_marked(&marked, whole).map_err(|reason| cannot(term, reason))
    }

    /// A message in which the special tokens that its texts spell out are marked as text.
    fn marked(&self, message: &Message) -> std::result::Result<Message, String> {
        let content = self.tokenizer.mark(&message.content)?;
        let mut marked = Message::new(&message.role, content);
        for (name, json) in &message.fields {
            marked = marked.field(name, mark_strings(json, |text| self.tokenizer.mark(text))?);
        }
        Ok(marked)
    }
}

/// Applies a function to the strings of a JSON text, except for the names of entries. The rest of the text stays as it is,
/// so entries keep their order.
fn mark_strings(
    json: &str,
    mark: impl Fn(&str) -> std::result::Result<Cow<'_, str>, String>,
) -> std::result::Result<String, String> {
    let (mut out, mut rest) = (String::new(), json);
    while let Some(start) = rest.find('"') {
        let mut escaped = false;
        let end = rest[start + 1..].find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        // What is not JSON is refused when the template is rendered.
        let Some(end) = end.map(|end| start + 1 + end + 1) else { break };
        let (literal, after) = (&rest[start..end], &rest[end..]);
        out.push_str(&rest[..start]);
        match serde_json::from_str::<String>(literal) {
            Ok(text) if !after.trim_start().starts_with(':') => {
                out.push_str(&serde_json::Value::from(&*mark(&text)?).to_string());
            }
            _ => out.push_str(literal),
        }
        rest = after;
    }
    Ok(out + rest)
}

/// What the assistant says when the end of its turn is looked for.
const ANSWER: &str = "Yes, indeed.";

fn cannot(term: &str, reason: impl Into<String>) -> Error {
    Error::CannotRender { term: term.into(), what: "a conversation", missing: reason.into() }
}

impl Renderer for TextRenderer {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text(text) => self.tokenizer.encode(text, true),
            Prompt::Chat(messages) => self.conversation(term, messages),
        }
    }

    /// Encodes the text without the tokens that begin a sequence. A tokenizer that puts a space before every text does
    /// so here, too.
    fn continuation(&self, _term: &str, text: &str) -> Result<Vec<TokenId>> {
        self.tokenizer.encode(text, false)
    }

    fn canonical(&self, term: &str) -> Result<Arc<dyn Canonical>> {
        let what = "text as bytes";
        self.tokenizer.canonical().map_err(|missing| Error::CannotRender { term: term.into(), what, missing })
    }
}
