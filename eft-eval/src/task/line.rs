//! From a line of a JSON Lines file to an item.
use eft_core::{Message, Prompt, TokenId};
use serde_json::{Map, Value};

use super::item::Item;
use crate::{Error, Result};

/// Reads the item of a line. `origin` is the file and line, for errors; `id` is the id of an item that has none.
pub(super) fn parse(line: &str, origin: String, id: String) -> Result<Item> {
    let fields: Map<String, Value> = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Error::Line { origin, reason: "the line is not a JSON object".into() }),
        Err(error) => {
            return Err(Error::Line { origin, reason: format!("the line is not valid JSON: {error}") });
        }
    };
    Reader { fields, origin }.item(id)
}

struct Reader {
    /// The fields that have not been taken.
    fields: Map<String, Value>,
    origin: String,
}

impl Reader {
    fn item(mut self, id: String) -> Result<Item> {
        let id = match self.take("id") {
            None => id,
            Some(Value::String(id)) => id,
            Some(Value::Number(id)) => id.to_string(),
            Some(other) => return Err(self.wrong("id", "text or a number", &other)),
        };
        let prompt = self.prompt()?;
        let references = self.references()?;
        let choices = match self.take("choices") {
            None => Vec::new(),
            Some(list) => self.texts("choices", list)?,
        };
        let label = self.label(&choices)?;
        let text = self.take("text").map(|text| self.text("text", text)).transpose()?;
        let (line, fields) = (Some(self.origin), self.fields.into_iter().collect());
        Ok(Item { id, prompt, references, choices, label, text, fields, line })
    }

    /// Conversations come before texts, since files often have the question as text beside its conversation.
    fn prompt(&mut self) -> Result<Option<Prompt>> {
        if let Some(messages) = self.take("messages") {
            return Ok(Some(Prompt::Chat(self.messages(messages)?)));
        }
        for field in ["prompt", "question"] {
            match self.take(field) {
                None => {}
                Some(Value::String(text)) => return Ok(Some(Prompt::Text(text))),
                Some(Value::Array(ids)) if field == "prompt" => {
                    let id = |id: &Value| id.as_u64().and_then(|id| TokenId::try_from(id).ok());
                    let ids =
                        ids.iter().map(|v| id(v).ok_or_else(|| self.wrong(field, "a list of token ids", v)));
                    return Ok(Some(Prompt::Tokens(ids.collect::<Result<_>>()?)));
                }
                Some(other) => return Err(self.wrong(field, "text", &other)),
            }
        }
        Ok(None)
    }

    fn messages(&self, messages: Value) -> Result<Vec<Message>> {
        let expected = "a list of objects with `role` and `content`, both text";
        let Value::Array(list) = &messages else { return Err(self.wrong("messages", expected, &messages)) };
        if list.is_empty() {
            return Err(self.fault("messages", "the list is empty"));
        }
        let message = |message: &Value| {
            let part = |name: &str| message.get(name)?.as_str();
            Some(Message::new(part("role")?, part("content")?))
        };
        list.iter().map(|m| message(m).ok_or_else(|| self.wrong("messages", expected, m))).collect()
    }

    /// The right answers: those of the list `references`, or the one `answer`.
    fn references(&mut self) -> Result<Vec<String>> {
        for field in ["references", "answer"] {
            match self.take(field) {
                None => {}
                Some(Value::Array(list)) => return self.texts(field, Value::Array(list)),
                Some(one) => return Ok(vec![self.text(field, one)?]),
            }
        }
        Ok(Vec::new())
    }

    /// The index of the right choice, which is given as an index or as the choice itself.
    fn label(&mut self, choices: &[String]) -> Result<Option<usize>> {
        let Some(label) = self.take("label") else { return Ok(None) };
        if choices.is_empty() {
            // Some other task's label, such as a class.
            self.fields.insert("label".into(), label);
            return Ok(None);
        }
        let index = match &label {
            Value::String(text) => choices.iter().position(|choice| choice == text),
            other => {
                other.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|i| *i < choices.len())
            }
        };
        let expected = || format!("must be a choice, or an index below {}, but is {label}", choices.len());
        index.map(Some).ok_or_else(|| self.fault("label", expected()))
    }

    fn texts(&self, field: &'static str, list: Value) -> Result<Vec<String>> {
        match list {
            Value::Array(list) => list.into_iter().map(|value| self.text(field, value)).collect(),
            other => Err(self.wrong(field, "a list of texts", &other)),
        }
    }

    /// Text; a number counts as text.
    fn text(&self, field: &'static str, value: Value) -> Result<String> {
        match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(self.wrong(field, "text or a number", &other)),
        }
    }

    /// Removes a field; one that is `null` counts as missing.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &'static str, expected: &str, found: &Value) -> Error {
        self.fault(field, format!("must be {expected}, but is {}", shortened(found)))
    }

    fn fault(&self, field: &'static str, reason: impl Into<String>) -> Error {
        Error::Field { origin: self.origin.clone(), field, reason: reason.into() }
    }
}

/// A value as JSON, cut after 60 characters.
fn shortened(value: &Value) -> String {
    let whole = value.to_string();
    match whole.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}
