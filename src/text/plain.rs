//! [`PlainTemplate`]: conversations as plain text, for models that were not tuned on a chat template.
use std::collections::BTreeMap;

use eft_core::Message;

/// Writes a conversation as plain text: each message after a label, and the assistant's label at the end. By default
/// `user: …\nassistant:`.
///
/// A base model that continues such a text may write the next speaker's words, too:
/// [`until`](crate::decode::Text::until) `"\nuser:"` ends the text before them.
///
/// ```
/// use eft::Message;
/// use eft::text::PlainTemplate;
///
/// let talk = [Message::new("system", "Be brief."), Message::new("user", "Why?")];
/// assert_eq!(PlainTemplate::default().render(&talk), "system: Be brief.\nuser: Why?\nassistant:");
///
/// let quiz = PlainTemplate::default().label("system", "").label("user", "Q").label("assistant", "A").end("\n\n");
/// assert_eq!(quiz.render(&talk), "Be brief.\n\nQ: Why?\n\nA:");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PlainTemplate {
    labels: BTreeMap<String, String>,
    colon: String,
    end: String,
}

impl Default for PlainTemplate {
    fn default() -> Self {
        Self { labels: BTreeMap::new(), colon: ": ".into(), end: "\n".into() }
    }
}

impl PlainTemplate {
    /// Sets the label of a role, which is the role's name by default. Messages with an empty label are written without
    /// label and colon.
    pub fn label(mut self, role: impl Into<String>, label: impl Into<String>) -> Self {
        self.labels.insert(role.into(), label.into());
        self
    }

    /// Sets the text between a label and its message, `": "` by default. At the end of the prompt its trailing spaces
    /// are left out, for the model to write.
    pub fn colon(mut self, colon: impl Into<String>) -> Self {
        self.colon = colon.into();
        self
    }

    /// Sets the text after each message, `"\n"` by default.
    pub fn end(mut self, end: impl Into<String>) -> Self {
        self.end = end.into();
        self
    }

    /// Returns the conversation as text, up to the point where the assistant's answer begins. If the last message is
    /// the assistant's, it is left open.
    pub fn render(&self, messages: &[Message]) -> String {
        let mut text = String::new();
        for (index, message) in messages.iter().enumerate() {
            text.push_str(&self.labelled(&message.role));
            text.push_str(&message.content);
            if index + 1 < messages.len() || message.role != "assistant" {
                text.push_str(&self.end);
            }
        }
        if messages.last().is_none_or(|message| message.role != "assistant") {
            text.push_str(self.labelled("assistant").trim_end_matches(' '));
        }
        text
    }

    fn labelled(&self, role: &str) -> String {
        match self.labels.get(role).map_or(role, String::as_str) {
            "" => String::new(),
            label => format!("{label}{}", self.colon),
        }
    }
}
