//! [`ChatTemplate`]: a model's own form of conversations, written in Jinja, as Hugging Face's files have it.
//!
//! ```
//! use eft::Message;
//! use eft::text::ChatTemplate;
//!
//! let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<assistant>";
//! let template = ChatTemplate::new("example", source)?.token("eos_token", "</s>");
//! assert_eq!(template.render(&[Message::new("user", "Hi!")]), Ok("<user>Hi!</s><assistant>".into()));
//! # Ok::<(), eft::models::Error>(())
//! ```
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft_core::Message;
use eft_models::{Error, Result};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde_json::Value as Json;

use super::jinja;

/// A template of conversations.
pub struct ChatTemplate {
    env: Environment<'static>,
    file: PathBuf,
    /// What it can name: special tokens, and what a caller sets.
    variables: BTreeMap<String, Value>,
}

/// The name of the template among those of its environment.
const NAME: &str = "chat template";

/// Put behind an unfinished message, to find its end again; the space tells whether the template trims.
const OPEN: &str = "\u{E000}open-message\u{E001} ";

impl ChatTemplate {
    /// Of its source. `file` is what errors speak of.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the line of an error of syntax.
    pub fn new(file: impl Into<PathBuf>, source: &str) -> Result<Self> {
        let file = file.into();
        let env = jinja::environment().and_then(|mut env| {
            env.add_template_owned(NAME, jinja::without_generation_blocks(source))?;
            Ok(env)
        });
        match env {
            Ok(env) => Ok(Self { env, file, variables: BTreeMap::new() }),
            Err(error) => Err(Error::BadFile { file, reason: said(&error) }),
        }
    }

    /// That of a folder in Hugging Face's layout: `chat_template.jinja`, or the field of `tokenizer_config.json`. Of
    /// several under names, `name`, or `default`. Special tokens are those of `tokenizer_config.json`. `None` if
    /// there is no template.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::BadFile`] for a broken file or template; [`Error::Config`] where there is no template
    /// of this name.
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

    /// With a special token by its role: `bos_token`, `eos_token`.
    pub fn token(self, role: impl Into<String>, token: impl Into<String>) -> Self {
        self.variable(role, token.into())
    }

    /// With a variable that this template knows, such as `enable_thinking`.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.variables.insert(name.into(), Value::from(Serde(value.into())));
        self
    }

    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The conversation as text, up to where the assistant speaks. A last message by the assistant is left open, for
    /// it to go on.
    ///
    /// # Errors
    /// What went wrong, in words: what the template raises, a line of it that fails, or that it runs without end.
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
        text.map_err(|error| format!("{}: {}", self.file.display(), said(&error)))
    }

    /// As transformers goes on with a message: what the template writes behind it is cut.
    fn continued(&self, before: &[Message], last: &Message) -> Result<String, String> {
        let open = Message::new("assistant", format!("{}{OPEN}", last.content));
        let mut text = self.filled(&[before, &[open]].concat(), false)?;
        let Some(end) = text.rfind(OPEN.trim_end()) else {
            let file = self.file.display();
            return Err(format!("{file}: the template leaves the assistant's last message out"));
        };
        let trims = !text[end..].starts_with(OPEN);
        text.truncate(end);
        // A template may have said the message before, too.
        let text = text.replace(OPEN, "").replace(OPEN.trim_end(), "");
        Ok(if trims { text.trim_end().into() } else { text })
    }
}

/// The template of a configuration: one, or several under names.
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

/// A token in `tokenizer_config.json`: its text, or an object that tells more of it.
pub(crate) fn special_token(field: &Json) -> Option<&str> {
    field.as_str().or_else(|| field["content"].as_str())
}

/// What the engine says, in one line.
fn said(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().map_or(String::new(), |line| format!(" (line {line} of the chat template)"));
    format!("{detail}{line}")
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("file", &self.file).finish_non_exhaustive()
    }
}
