use std::collections::BTreeMap;

use eft_core::Prompt;
use serde_json::{Value, json};

use crate::{Error, Result};

/// One question, one choice or one text of a task.
///
/// ```
/// use eft_eval::Item;
///
/// let item = Item::new("sum", "What is 2 + 2?").reference("4").field("topic", "arithmetic");
/// assert_eq!(item.references, ["4"]);
/// assert_eq!(item.fields["topic"], "arithmetic");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Item {
    /// The id, unique among the items of a task. The random numbers of the item are made from it.
    pub id: String,
    /// What the models are given; `None` for an item that is only a text.
    pub prompt: Option<Prompt>,
    /// The answers that count as right.
    pub references: Vec<String>,
    /// The answers to choose among.
    pub choices: Vec<String>,
    /// The index of the right one among [`choices`](Self::choices).
    pub label: Option<usize>,
    /// The text whose log-probability is measured. It follows the prompt, if there is one.
    pub text: Option<String>,
    /// All other fields of the line, by name.
    pub fields: BTreeMap<String, Value>,
    /// The file and the line that the item was read from.
    pub(crate) line: Option<String>,
}

impl Item {
    /// Creates an item with a prompt.
    pub fn new(id: impl Into<String>, prompt: impl Into<Prompt>) -> Self {
        Self { prompt: Some(prompt.into()), ..Self::empty(id) }
    }

    /// Creates an item that is a text without a prompt.
    ///
    /// ```
    /// let item = eft_eval::Item::of_text("1", "Once upon a time");
    /// assert!(item.prompt.is_none());
    /// ```
    pub fn of_text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::empty(id) }
    }

    pub(super) fn empty(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            prompt: None,
            references: Vec::new(),
            choices: Vec::new(),
            label: None,
            text: None,
            fields: BTreeMap::new(),
            line: None,
        }
    }

    /// Adds an answer that counts as right.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.references.push(reference.into());
        self
    }

    /// Sets the answers to choose among, and the index of the right one.
    ///
    /// ```
    /// let item = eft_eval::Item::new("1", "The sky is").choices(["green", "blue"], 1);
    /// assert_eq!(item.label, Some(1));
    /// ```
    pub fn choices<C: Into<String>>(mut self, choices: impl IntoIterator<Item = C>, label: usize) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self.label = Some(label);
        self
    }

    /// Sets the text whose log-probability is measured, after the prompt.
    ///
    /// ```
    /// let item = eft_eval::Item::new("1", "Once upon").text(" a time");
    /// assert_eq!(item.text.as_deref(), Some(" a time"));
    /// ```
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Sets another field, which results keep and statistics may group by.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Where the item comes from, for errors: its file and line, else its id.
    pub(crate) fn origin(&self) -> String {
        self.line.clone().unwrap_or_else(|| format!("item `{}`", self.id))
    }

    /// An error about a field of the item.
    pub(crate) fn fault(&self, field: &'static str, reason: impl Into<String>) -> Error {
        Error::Field { origin: self.origin(), field, reason: reason.into() }
    }

    pub(crate) fn needs_prompt(&self) -> Result<&Prompt> {
        self.prompt
            .as_ref()
            .ok_or_else(|| self.fault("prompt", "it is missing, and so are `question` and `messages`"))
    }

    /// The answer that a demonstration shows: the first reference, or the right choice.
    pub(super) fn answer(&self) -> Option<&str> {
        let choice = || self.choices.get(self.label?);
        self.references.first().or_else(choice).map(String::as_str)
    }

    /// A guess at how much the models have to read and write for the item, in bytes. Items of similar size share a
    /// batch.
    pub(crate) fn size(&self) -> usize {
        let prompt = match &self.prompt {
            None => 0,
            Some(Prompt::Tokens(ids)) => 4 * ids.len(),
            Some(Prompt::Text(text)) => text.len(),
            Some(Prompt::Chat(messages)) => messages.iter().map(|m| m.content.len()).sum(),
        };
        let longest = |list: &[String]| list.iter().map(String::len).max().unwrap_or(0);
        let answer = longest(&self.references).max(longest(&self.choices));
        prompt + answer + self.text.as_ref().map_or(0, String::len)
    }

    /// The item as JSON, from which the hash of a task is made.
    pub(crate) fn to_json(&self) -> Value {
        let Self { id, prompt, references, choices, label, text, fields, line: _ } = self;
        let prompt = prompt.as_ref().map(|prompt| match prompt {
            Prompt::Tokens(ids) => json!(ids),
            Prompt::Text(text) => json!(text),
            Prompt::Chat(messages) => {
                json!(messages.iter().map(|m| [&m.role, &m.content]).collect::<Vec<_>>())
            }
        });
        json!([id, prompt, references, choices, label, text, fields])
    }
}
