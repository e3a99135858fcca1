//! [`PlainTemplate`]: a conversation written down as one would by hand, for models that never saw a template.
//!
//! ```
//! use eft::Message;
//! use eft::text::PlainTemplate;
//!
//! let talk = [Message::new("system", "Be brief."), Message::new("user", "Why?")];
//! assert_eq!(PlainTemplate::default().render(&talk), "system: Be brief.\nuser: Why?\nassistant:");
//!
//! let quiz = PlainTemplate::default().label("system", "").label("user", "Q").label("assistant", "A").end("\n\n");
//! assert_eq!(quiz.render(&talk), "Be brief.\n\nQ: Why?\n\nA:");
//! ```
use std::collections::BTreeMap;

use eft_core::Message;

/// How a conversation becomes text: each message under a label, the assistant's last. By default
/// `user: …\nassistant:`.
///
/// A base model that goes on from there may write the next speaker's words, too:
/// [`until`](crate::decode::Text::until) `"\nuser:"` ends the text before that.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What a role is called: by its name, unless told. Messages without a label stand for themselves.
    pub fn label(mut self, role: impl Into<String>, label: impl Into<String>) -> Self {
        self.labels.insert(role.into(), label.into());
        self
    }

    /// What stands between a label and the message: `": "`, unless told. What of it is white space at its end is left
    /// to the model to write.
    pub fn colon(mut self, colon: impl Into<String>) -> Self {
        self.colon = colon.into();
        self
    }

    /// What stands behind each message: `"\n"`, unless told.
    pub fn end(mut self, end: impl Into<String>) -> Self {
        self.end = end.into();
        self
    }

    /// The conversation as text, up to where the assistant speaks. Its last message is left open if the assistant
    /// has begun it.
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
