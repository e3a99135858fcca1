//! [`ChatTemplate`]: a model's own template for conversations, written in Jinja as in Hugging Face's files.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft_core::Message;
use eft_models::{Error, Result};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde_json::Value as Json;

use super::jinja;

/// A chat template.
///
/// ```
/// use eft::Message;
/// use eft::text::ChatTemplate;
///
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<assistant>";
/// let template = ChatTemplate::new("example", source)?.token("eos_token", "</s>");
/// assert_eq!(template.render(&[Message::new("user", "Hi!")]), Ok("<user>Hi!</s><assistant>".into()));
/// # Ok::<(), eft::Error>(())
/// ```
#[must_use]
pub struct ChatTemplate {
    env: Environment<'static>,
    file: PathBuf,
    /// The variables of the template: special tokens, and those that a caller has set.
    variables: BTreeMap<String, Value>,
}

/// The name of the template in its environment.
const NAME: &str = "chat template";

/// Appended to a message that is left open, to find its end in the rendered text. The space shows whether the template
/// trims messages.
const OPEN: &str = "\u{E000}open-message\u{E001} ";

impl ChatTemplate {
    /// Parses a template. Errors name `file`.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the line of a syntax error.
    pub fn new(file: impl Into<PathBuf>, source: &str) -> Result<Self> {
        let file = file.into();
        let env = jinja::environment().and_then(|mut env| {
            env.add_template_owned(NAME, jinja::without_generation_blocks(source))?;
            Ok(env)
        });
        match env {
            Ok(env) => Ok(Self { env, file, variables: BTreeMap::new() }),
            Err(error) => Err(Error::BadFile { file, reason: message_of(&error) }),
        }
    }

    /// Reads the template of a folder in Hugging Face's layout: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json`. If there are several, the one called `name`, or `default`. Returns `None` if there is
    /// no template. The special tokens are those of `tokenizer_config.json`.
    ///
    /// # Errors
    /// * [`Error::Io`] if a file cannot be read.
    /// * [`Error::BadFile`] if a file or the template is broken.
    /// * [`Error::Config`] if no template is called `name`.
    pub fn read(folder: impl AsRef<Path>, name: Option<&str>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        let config = folder.join("tokenizer_config.json");
        let fields = if config.exists() { read_json(&config)? } else { Json::Null };
        let alone = match name {
            None => folder.join("chat_template.jinja"),
            Some(name) => folder.join("additional_chat_templates").join(format!("{name}.jinja")),
        };
        let (file, source) = if alone.exists() {
            let source = read(&alone)?;
            (alone, source)
        } else {
            match field(&config, &fields, name)? {
                Some(source) => (config, source),
                None => return Ok(None),
            }
        };
        let mut template = Self::new(file, &source)?;
        for (role, token) in fields.as_object().into_iter().flatten() {
            if let Some(text) = special_token(token).filter(|_| role.ends_with("_token")) {
                template = template.token(role, text);
            }
        }
        Ok(Some(template))
    }

    /// Sets a special token by its role, such as `bos_token` or `eos_token`.
    pub fn token(self, role: impl Into<String>, token: impl Into<String>) -> Self {
        self.variable(role, token.into())
    }

    /// Sets a variable that the template uses, such as `enable_thinking`.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.variables.insert(name.into(), Value::from(Serde(value.into())));
        self
    }

    /// Returns the file that the template was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the conversation as text, up to the point where the assistant's answer begins. If the last message is
    /// the assistant's, it is left open, for the model to continue.
    ///
    /// Messages are inserted as they are: in the text, a special token that a message spells out looks like one that
    /// the template writes. See [`TextRenderer`](super::TextRenderer).
    ///
    /// # Errors
    /// The reason, in words: the template raises an exception, a line of it fails, or it does not end.
    pub fn render(&self, messages: &[Message]) -> Result<String, String> {
        match messages.split_last() {
            Some((last, before)) if last.role == "assistant" => self.continued(before, last),
            _ => self.filled(messages, true),
        }
    }

    fn filled(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, String> {
        let message = |m: &Message| context! { role => &m.role, content => &m.content };
        let messages: Vec<_> = messages.iter().map(message).collect();
        let fields = context! { messages, add_generation_prompt, tools => (), documents => () };
        let fields = context! { ..fields, ..Value::from_pairs(self.variables.clone()) };
        let text = self.env.get_template(NAME).and_then(|template| template.render(fields));
        text.map_err(|error| format!("{}: {}", self.file.display(), message_of(&error)))
    }

    /// Renders a conversation whose last message is left open. As in transformers, the text that the template writes
    /// after the message is cut off.
    fn continued(&self, before: &[Message], last: &Message) -> Result<String, String> {
        let open = Message::new("assistant", format!("{}{OPEN}", last.content));
        let mut text = self.filled(&[before, &[open]].concat(), false)?;
        let Some(end) = text.rfind(OPEN.trim_end()) else {
            let file = self.file.display();
            return Err(format!("{file}: the template leaves the assistant's last message out"));
        };
        let trims = !text[end..].starts_with(OPEN);
        text.truncate(end);
        // A template may write the message more than once.
        let text = text.replace(OPEN, "").replace(OPEN.trim_end(), "");
        Ok(if trims { text.trim_end().into() } else { text })
    }
}

/// The template in a configuration, which has one, or several with names.
fn field(file: &Path, fields: &Json, name: Option<&str>) -> Result<Option<String>> {
    let wrong = |reason: String| Error::Config { file: file.into(), field: "chat_template".into(), reason };
    let wanted = name.unwrap_or("default");
    match &fields["chat_template"] {
        Json::String(source) if name.is_none() => Ok(Some(source.clone())),
        Json::Null | Json::String(_) if name.is_none() => Ok(None),
        Json::Null | Json::String(_) => Err(wrong(format!("has no template `{wanted}`"))),
        Json::Array(templates) => {
            let named = templates.iter().find(|t| t["name"] == wanted).and_then(|t| t["template"].as_str());
            let names = || templates.iter().filter_map(|t| t["name"].as_str()).collect::<Vec<_>>().join(", ");
            let named =
                named.ok_or_else(|| wrong(format!("has no template `{wanted}`; there are: {}", names())));
            named.map(|source| Some(source.to_owned()))
        }
        _ => Err(wrong("is neither a template nor a list of them".into())),
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|source| Error::Io { file: file.into(), source })
}

pub(crate) fn read_json(file: &Path) -> Result<Json> {
    serde_json::from_str(&read(file)?)
        .map_err(|e| Error::BadFile { file: file.into(), reason: e.to_string() })
}

/// The spelling of a token in `tokenizer_config.json`, where it is a string, or an object with further fields.
pub(crate) fn special_token(field: &Json) -> Option<&str> {
    field.as_str().or_else(|| field["content"].as_str())
}

/// The message of an error, with its line, in one line.
fn message_of(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().map_or(String::new(), |line| format!(" (line {line} of the chat template)"));
    format!("{detail}{line}")
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("file", &self.file).finish_non_exhaustive()
    }
}
