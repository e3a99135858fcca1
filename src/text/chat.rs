//! [`ChatTemplate`]: a model's own template for conversations, written in Jinja as in Hugging Face's files.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft_core::Message;
use eft_models::{Error, Result};
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Value};
use serde_json::Value as Json;

use super::config::{TokenizerConfig, read_text};
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
///
/// # Tools
/// Templates of models that call tools have a variable `tools`, and read further fields of messages:
///
/// ```
/// use eft::Message;
/// use eft::text::ChatTemplate;
///
/// let source = "{{ tools[0].function.name }}? {% for m in messages %}{{ m.tool_calls[0].function | tojson if m.tool_calls }}{% endfor %}";
/// let template = ChatTemplate::new("example", source)?;
/// let template = template.json("tools", r#"[{"type": "function", "function": {"name": "weather"}}]"#)?;
/// let call = Message::new("assistant", "")
///     .field("tool_calls", r#"[{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]"#);
/// let text = template.render(&[Message::new("user", "Is it cold?"), call, Message::new("tool", "-3")]);
/// assert_eq!(text, Ok(r#"weather? {"name": "weather", "arguments": {"city": "Oslo"}}"#.into()));
///
/// // The tools of a single conversation are a field `tools` of any of its messages, which the template does not see there.
/// let message = Message::new("user", "Is it cold?").field("tools", r#"[{"function": {"name": "time"}}]"#);
/// assert_eq!(template.render(&[message]), Ok("time? ".into()));
/// # Ok::<(), eft::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ChatTemplate {
    /// The compiled template, or the reason why there is none.
    env: std::result::Result<Environment<'static>, String>,
    file: PathBuf,
    /// The variables of the template: special tokens, and those that a caller has set.
    variables: BTreeMap<String, Value>,
}

/// Variables that are lists of objects.
const LISTS: [&str; 2] = [TOOLS, "documents"];

/// The variable that has the tools which the model may call, and the field of a message that sets it.
const TOOLS: &str = "tools";

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
        let source = match jinja::rewritten(source) {
            Ok(source) => source,
            Err(line) => {
                let reason = format!("a tag has too many operators (line {line} of the chat template)");
                return Err(Error::BadFile { file, reason });
            }
        };
        let env = jinja::environment().and_then(|mut env| {
            env.add_template_owned(NAME, source)?;
            Ok(env)
        });
        match env {
            Ok(env) => Ok(Self { env: Ok(env), file, variables: BTreeMap::new() }),
            Err(error) => Err(Error::BadFile { file, reason: message_of(&error) }),
        }
    }

    /// Reads the template of a folder in Hugging Face's layout: `chat_template.jinja`, those in
    /// `additional_chat_templates`, or else `chat_template` in `tokenizer_config.json`. If there are several, the one
    /// called `name`, or `default`; if none is called so, the template that is returned refuses every conversation.
    /// Returns `None` if there is no template. The special tokens are those that the files of the tokenizer give roles
    /// to.
    ///
    /// # Errors
    /// * [`Error::Io`] if a file cannot be read.
    /// * [`Error::BadFile`] if a file or the template is broken.
    /// * [`Error::Config`] if no template is called `name`, or the field holds something else than templates.
    pub fn read(folder: impl AsRef<Path>, name: Option<&str>) -> Result<Option<Self>> {
        Self::of_folder(folder.as_ref(), &TokenizerConfig::read(folder.as_ref())?, name)
    }

    /// [`read`](Self::read), where the files that describe the tokenizer have been read.
    pub(crate) fn of_folder(
        folder: &Path,
        config: &TokenizerConfig,
        name: Option<&str>,
    ) -> Result<Option<Self>> {
        let mut templates = in_files(folder)?;
        if templates.is_empty() {
            templates = in_config(config)?;
        }
        let found = Self::chosen(templates, config.file(), "chat_template", name)?;
        let Some(template) = found else { return Ok(None) };
        let roles = config.roles().iter();
        Ok(Some(roles.fold(template, |template, role| template.token(&role.name, role.token()))))
    }

    /// The template called `name`, or `default`, among named ones with their files. `file` and `field` are named if there
    /// is none of the name.
    pub(crate) fn chosen(
        mut templates: BTreeMap<String, (PathBuf, String)>,
        file: &Path,
        field: &str,
        name: Option<&str>,
    ) -> Result<Option<Self>> {
        if let Some((file, source)) = templates.remove(name.unwrap_or(DEFAULT)) {
            return Self::new(file, &source).map(Some);
        }
        let names: Vec<_> = templates.into_keys().collect();
        let wanted = name.unwrap_or(DEFAULT);
        let reason = match names.is_empty() {
            true => format!("has no template `{wanted}`"),
            false => format!("has no template `{wanted}`; there are: {}", names.join(", ")),
        };
        match name {
            Some(_) => Err(Error::Config { file: file.into(), field: field.into(), reason }),
            None if names.is_empty() => Ok(None),
            None => Ok(Some(Self { env: Err(reason), file: file.into(), variables: BTreeMap::new() })),
        }
    }

    /// Sets a special token by its role, such as `bos_token` or `eos_token`.
    pub fn token(self, role: impl Into<String>, token: impl Into<String>) -> Self {
        self.variable(role, token.into())
    }

    /// Sets a variable that the template uses, such as `enable_thinking`. To set one to an object whose entries must keep
    /// their order, use [`json`](Self::json).
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.variables.insert(name.into(), Value::from(Serde(value.into())));
        self
    }

    /// Sets a variable that the template uses, such as `tools` or `documents`, to what a JSON text holds. The entries of
    /// objects keep their order, so that the template writes them as transformers does.
    ///
    /// # Errors
    /// [`Error::BadFile`], naming the variable, if the text is not JSON, or if `tools` or `documents` is not a list of
    /// objects, which transformers refuses, too.
    pub fn json(mut self, name: impl Into<String>, text: &str) -> Result<Self> {
        let name = name.into();
        let bad = |reason: String| {
            let reason = format!("the variable `{name}` of its template {reason}");
            Error::BadFile { file: self.file.clone(), reason }
        };
        let value = of_variable(&name, text).map_err(bad)?;
        self.variables.insert(name, value);
        Ok(self)
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
    /// The reason, in words: the template raises an exception, a line of it fails, or it does not end; it leaves out or
    /// changes a message that is to be continued; or a field of a message is not JSON.
    pub fn render(&self, messages: &[Message]) -> Result<String, String> {
        match messages.split_last() {
            Some((last, _)) if last.role == "assistant" => self.continued(messages, last),
            _ => self.filled(messages, true, false),
        }
    }

    fn filled(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        open: bool,
    ) -> Result<String, String> {
        let failed = |reason: String| format!("{}: {reason}", self.file.display());
        let env = self.env.as_ref().map_err(|reason| failed(reason.clone()))?;
        let count = messages.len();
        let mut given = messages.iter().flat_map(|message| &message.fields).filter(|(name, _)| name == TOOLS);
        let tools = given.next().map(|(_, text)| of_variable(TOOLS, text)).transpose();
        let tools = tools.map_err(|reason| failed(format!("the field `{TOOLS}` of a message {reason}")))?;
        let message = |(index, message): (usize, &Message)| -> Result<Value, String> {
            let fields =
                fields(message).map_err(|reason| failed(format!("message {}: {reason}", index + 1)))?;
            Ok(Value::from_pairs(if open && index + 1 == count { opened(fields) } else { fields }))
        };
        let messages = messages.iter().enumerate().map(message).collect::<Result<Vec<_>, String>>()?;
        let none = || Value::from(());
        let mut variables = BTreeMap::from([
            ("messages".to_owned(), Value::from(messages)),
            ("add_generation_prompt".to_owned(), Value::from(add_generation_prompt)),
            (TOOLS.to_owned(), none()),
            ("documents".to_owned(), none()),
        ]);
        variables.extend(self.variables.clone());
        if let Some(tools) = tools {
            variables.insert(TOOLS.into(), tools);
        }
        let template = env.get_template(NAME);
        let text = template.and_then(|template| template.render(Value::from_pairs(variables)));
        text.map_err(|error| failed(message_of(&error)))
    }

    /// Renders a conversation whose last message is left open. As in transformers, the text that the template writes
    /// after the message is cut off, and a template that changes the message is refused.
    fn continued(&self, messages: &[Message], last: &Message) -> Result<String, String> {
        let mut text = self.filled(messages, false, true)?;
        let refused = |reason: &str| Err(format!("{}: the template {reason}", self.file.display()));
        let Some(end) = text.rfind(OPEN.trim_end()) else {
            return refused("leaves the assistant's last message out");
        };
        let trims = !text[end..].starts_with(OPEN);
        text.truncate(end);
        // A template may write the message more than once.
        let text = text.replace(OPEN, "").replace(OPEN.trim_end(), "");
        if !text.contains(last.content.trim()) {
            return refused("changes the assistant's last message, so the model cannot continue it");
        }
        Ok(if trims { text.trim_end().into() } else { text })
    }
}

/// The fields that hold what the model has thought, under the names that templates read. The first is the usual one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The fields of a message that the template reads. As in transformers, a field that is null is left out, and what the
/// model has thought has all of its usual names.
fn fields(message: &Message) -> Result<Vec<(String, Value)>, String> {
    let mut fields = vec![
        ("role".to_owned(), Value::from(message.role.as_str())),
        ("content".to_owned(), Value::from(message.content.as_str())),
    ];
    let set = |fields: &mut Vec<(String, Value)>, name: &str, value: Value| match fields
        .iter_mut()
        .find(|(known, _)| known == name)
    {
        Some((_, known)) => *known = value,
        None => fields.push((name.to_owned(), value)),
    };
    for (name, text) in message.fields.iter().filter(|(name, _)| name != TOOLS) {
        let value = parsed(text).map_err(|reason| format!("the field `{name}` is not JSON: {reason}"))?;
        set(&mut fields, name, value);
    }
    fields.retain(|(_, value)| !value.is_none());
    let of = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if let Some(reasoning) = REASONING.iter().find_map(|name| of(name)) {
        if of("thinking").is_none() {
            set(&mut fields, "thinking", reasoning.clone());
        }
        set(&mut fields, REASONING[0], reasoning);
    }
    Ok(fields)
}

/// Appends the mark of an open message to its text: the content, or the last text of a list of parts.
fn opened(fields: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mark = |text: &Value| Value::from(format!("{text}{OPEN}"));
    let part = |part: Value, is_last: bool| match part.get_attr("text") {
        Ok(text) if is_last && !text.is_undefined() => {
            let entries = part.as_object().and_then(|object| object.try_iter_pairs()).into_iter().flatten();
            let marked = entries.map(|(name, value)| {
                let value = if name.as_str() == Some("text") { mark(&value) } else { value };
                (name, value)
            });
            Value::from_pairs(marked)
        }
        _ => part,
    };
    let content = |value: Value| {
        if value.kind() != ValueKind::Seq {
            return mark(&value);
        }
        let parts: Vec<_> = value.try_iter().into_iter().flatten().collect();
        let has_text = |part: &Value| part.get_attr("text").is_ok_and(|text| !text.is_undefined());
        let last = parts.iter().rposition(has_text);
        Value::from(parts.into_iter().enumerate().map(|(i, p)| part(p, Some(i) == last)).collect::<Vec<_>>())
    };
    let opened = |(name, value): (String, Value)| {
        let value = if name == "content" { content(value) } else { value };
        (name, value)
    };
    fields.into_iter().map(opened).collect()
}

/// The value of a variable that is given as JSON, or what is wrong with it.
fn of_variable(name: &str, text: &str) -> Result<Value, String> {
    let value = parsed(text).map_err(|reason| format!("is not JSON: {reason}"))?;
    if LISTS.contains(&name) && !value.is_none() {
        let entries = value.try_iter().ok().filter(|_| value.kind() == ValueKind::Seq);
        let entries = entries.ok_or("is not a list")?;
        if let Some(index) = entries.into_iter().position(|entry| entry.kind() != ValueKind::Map) {
            return Err(format!("is not a list of objects: see its entry {}", index + 1));
        }
    }
    Ok(value)
}

/// What a JSON text holds. The entries of objects keep their order.
fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// The name of the template that is used if none is named.
pub(crate) const DEFAULT: &str = "default";

/// The templates of a folder that are files of their own.
fn in_files(folder: &Path) -> Result<BTreeMap<String, (PathBuf, String)>> {
    let mut templates = BTreeMap::new();
    let file = folder.join("chat_template.jinja");
    if file.exists() {
        templates.insert(DEFAULT.to_owned(), (file.clone(), read_text(&file)?));
    }
    let others = folder.join("additional_chat_templates");
    if !others.is_dir() {
        return Ok(templates);
    }
    let unreadable = |source| Error::Io { file: others.clone(), source };
    for entry in std::fs::read_dir(&others).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "jinja") {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let source = read_text(&file)?;
            templates.insert(name, (file, source));
        }
    }
    Ok(templates)
}

/// The templates in a configuration: one, or several with names, as a list or as an object.
fn in_config(config: &TokenizerConfig) -> Result<BTreeMap<String, (PathBuf, String)>> {
    let wrong = |reason: &str| {
        let (file, field) = (config.file().into(), "chat_template".into());
        Error::Config { file, field, reason: reason.into() }
    };
    let template = |name: &str, source: &Json| -> Result<(String, (PathBuf, String))> {
        let source = source.as_str().ok_or_else(|| wrong("holds a template that is not a string"))?;
        Ok((name.to_owned(), (config.file().into(), source.to_owned())))
    };
    match config.field("chat_template") {
        Json::Null => Ok(BTreeMap::new()),
        source @ Json::String(_) => Ok(BTreeMap::from([template(DEFAULT, source)?])),
        Json::Object(templates) => templates.iter().map(|(name, source)| template(name, source)).collect(),
        Json::Array(templates) => {
            let named = templates.iter().map(|entry| {
                let name = entry["name"].as_str().ok_or_else(|| wrong("holds a template without a name"))?;
                template(name, &entry["template"])
            });
            named.collect()
        }
        _ => Err(wrong("is neither a template nor several with names")),
    }
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
