use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;

use eft_core::{Message, Prompt};
use serde::Serialize;

use super::item::Item;
use super::line;
use crate::hash::hash_bytes;
use crate::{Error, Result};

/// The items of a task, in order, from files of JSON Lines or from a list. It dereferences to a slice of [`Item`]s.
///
/// Every line of a file is a JSON object. These fields have a meaning; all others are kept as they are:
///
/// | Field | Content |
/// | --- | --- |
/// | `id` | The id of the item, text or a number. By default the name of the file and the number of the line. |
/// | `messages` | The prompt as a conversation: a list of objects with `role` and `content`. |
/// | `prompt`, `question` | The prompt as text, if there are no `messages`; `prompt` may also be a list of token ids. |
/// | `references`, `answer` | The right answers: a list, or one. Numbers count as text. |
/// | `choices`, `label` | The answers to choose among, and the right one: its index, or the choice itself. |
/// | `text` | The text whose log-probability is measured. |
///
/// ```
/// use eft_eval::Items;
///
/// let file = tempfile::NamedTempFile::new().unwrap();
/// std::fs::write(file.path(), r#"{"question": "What is 2 + 2?", "answer": 4, "topic": "arithmetic"}"#).unwrap();
/// let items = Items::read(file.path())?;
/// assert_eq!(items[0].references, ["4"]);
/// assert_eq!(items[0].fields["topic"], "arithmetic");
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Items {
    items: Vec<Item>,
    files: Vec<SourceFile>,
}

/// A file that items were read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SourceFile {
    /// The name, without its folder.
    name: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    sha256: String,
}

impl Items {
    /// Reads a file of JSON Lines. Empty lines are skipped.
    ///
    /// # Errors
    /// * [`Error::File`] if the file cannot be read.
    /// * [`Error::Line`] if a line is not a JSON object, and [`Error::Field`] if a field has the wrong type.
    /// * [`Error::Field`] if two items have the same id.
    /// * [`Error::NoItems`] if the file has no items.
    pub fn read(file: impl AsRef<Path>) -> Result<Self> {
        Self::read_all([file])
    }

    /// Reads several files, one after another.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read), for any of the files.
    pub fn read_all<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut read = Self { items: Vec::new(), files: Vec::new() };
        for file in files {
            read.add(file.as_ref())?;
        }
        match read.items.is_empty() {
            true => Err(Error::NoItems { origin: "the list of files".into() }),
            false => read.checked(),
        }
    }

    fn add(&mut self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file).map_err(Error::read(file))?;
        let name = file.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
        let stem = file.file_stem().map_or_else(Default::default, |stem| stem.to_string_lossy().into_owned());
        let before = self.items.len();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = index + 1;
            let origin = format!("{}, line {number}", file.display());
            self.items.push(line::parse(line, origin, format!("{stem}:{number}"))?);
        }
        if self.items.len() == before {
            return Err(Error::NoItems { origin: file.display().to_string() });
        }
        self.files.push(SourceFile { name, sha256: hash_bytes(text.as_bytes()) });
        Ok(())
    }

    /// Takes the items of a list.
    ///
    /// ```
    /// use eft_eval::{Item, Items};
    ///
    /// let items = Items::of([Item::new("1", "One and one is").reference("two")])?;
    /// assert_eq!(items.len(), 1);
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Field`] if two items have the same id.
    /// * [`Error::NoItems`] if the list is empty.
    pub fn of(items: impl IntoIterator<Item = Item>) -> Result<Self> {
        let items: Vec<_> = items.into_iter().collect();
        match items.is_empty() {
            true => Err(Error::NoItems { origin: "the list".into() }),
            false => Self { items, files: Vec::new() }.checked(),
        }
    }

    /// Checks that no two items have the same id.
    fn checked(self) -> Result<Self> {
        let mut seen: HashMap<&str, &Item> = HashMap::new();
        for item in &self.items {
            if let Some(other) = seen.insert(&item.id, item) {
                let reason = format!("`{}` is also the id of {}", item.id, other.origin());
                return Err(item.fault("id", reason));
            }
        }
        Ok(self)
    }

    /// Keeps the first `count` items.
    pub fn take(mut self, count: usize) -> Self {
        self.items.truncate(count);
        self
    }

    /// Keeps the items that a function accepts.
    ///
    /// ```
    /// use eft_eval::{Item, Items};
    ///
    /// let item = |id: &str, topic: &str| Item::new(id, "?").field("topic", topic);
    /// let items = Items::of([item("1", "sums"), item("2", "towns")])?.filter(|i| i.fields["topic"] == "sums");
    /// assert_eq!(items.len(), 1);
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    pub fn filter(mut self, keep: impl FnMut(&Item) -> bool) -> Self {
        self.items.retain(keep);
        self
    }

    /// Turns every prompt that is text into a conversation of one message by the user, which models render with their
    /// templates.
    pub fn as_chat(mut self) -> Self {
        for prompt in self.items.iter_mut().filter_map(|item| item.prompt.as_mut()) {
            if let Prompt::Text(text) = prompt {
                *prompt = Prompt::Chat(vec![Message::new("user", std::mem::take(text))]);
            }
        }
        self
    }

    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Replaces the prompts by functions of the items.
    pub(super) fn with_prompts(mut self, prompt: impl Fn(&Item) -> Result<Option<Prompt>>) -> Result<Self> {
        for item in &mut self.items {
            item.prompt = prompt(item)?;
        }
        Ok(self)
    }

    /// The SHA-256 of the items as they are evaluated, in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        let lines: Vec<_> = self.items.iter().map(|item| item.to_json().to_string()).collect();
        hash_bytes(lines.join("\n").as_bytes())
    }
}

impl Deref for Items {
    type Target = [Item];

    fn deref(&self) -> &[Item] {
        &self.items
    }
}
