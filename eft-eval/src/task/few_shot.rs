use eft_core::sample::{Purpose, Uniforms};
use eft_core::{Message, Prompt};
use serde_json::{Value, json};

use super::item::Item;
use super::items::Items;
use crate::Result;
use crate::hash::seed_of;

/// Demonstrations before every prompt: questions with their answers, drawn from a list.
///
/// They are the same in every run with the same seed. An item that is itself in the list is not its own demonstration.
/// In a text, a demonstration is the question, a space, the answer and an empty line. In a conversation, it is a
/// message by the user and one by the assistant; a system message stays in front of them.
///
/// ```
/// use eft_core::Prompt;
/// use eft_eval::{ExactMatch, FewShot, Item, Items, Task};
///
/// let pool = Items::of([Item::new("a", "Q: 1 + 1? A:").reference("2"), Item::new("b", "Q: 1 + 2? A:").reference("3")])?;
/// let items = Items::of([Item::new("c", "Q: 2 + 2? A:").reference("4")])?;
/// let task = Task::texts(items, ExactMatch::default())?.few_shot(FewShot::new(pool, 1).seed(7))?;
/// let Some(Prompt::Text(text)) = &task.items()[0].prompt else { unreachable!() };
/// assert!(text.ends_with("\n\nQ: 2 + 2? A:"));
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct FewShot {
    pool: Items,
    count: usize,
    seed: u64,
    between: String,
    after: String,
}

impl FewShot {
    /// Creates demonstrations: `count` items of a list, drawn with the seed 0.
    pub fn new(pool: Items, count: usize) -> Self {
        Self { pool, count, seed: 0, between: " ".into(), after: "\n\n".into() }
    }

    /// Sets the seed that they are drawn with.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what is written between a question and its answer, and after the answer, in prompts that are texts.
    pub fn separators(mut self, between: impl Into<String>, after: impl Into<String>) -> Self {
        (self.between, self.after) = (between.into(), after.into());
        self
    }

    /// The items with demonstrations before their prompts.
    pub(super) fn apply(&self, items: Items) -> Result<Items> {
        let mut order: Vec<_> = self.pool.iter().collect();
        let uniforms = Uniforms::new(self.seed);
        // Sorting by a random number of each id is a draw that does not depend on the order of the list.
        order.sort_by(|a, b| {
            let key = |item: &Item| uniforms.at(seed_of(&item.id), 0, Purpose::Draw);
            key(a).total_cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
        });
        items.with_prompts(|item| {
            let Some(prompt) = &item.prompt else { return Ok(None) };
            let others = order.iter().filter(|shot| shot.id != item.id && shot.prompt != item.prompt);
            let shots: Vec<_> = others.take(self.count).map(|shot| Shot::of(shot)).collect::<Result<_>>()?;
            if shots.len() < self.count {
                let reason = format!(
                    "{} demonstrations were asked for, and only {} are left",
                    self.count,
                    shots.len()
                );
                return Err(item.fault("prompt", reason));
            }
            self.before(&shots, prompt, item).map(Some)
        })
    }

    fn before(&self, shots: &[Shot<'_>], prompt: &Prompt, item: &Item) -> Result<Prompt> {
        match prompt {
            Prompt::Text(text) => {
                let mut whole = String::new();
                for shot in shots {
                    let Prompt::Text(question) = shot.prompt else {
                        let reason =
                            format!("is {}, but that of {} is text", shot.prompt.form(), item.origin());
                        return Err(shot.item.fault("prompt", reason));
                    };
                    whole.extend([&question[..], &self.between, shot.answer, &self.after]);
                }
                Ok(Prompt::Text(whole + text))
            }
            Prompt::Chat(messages) => {
                let is_system = |m: &&Message| m.role == "system";
                let mut whole: Vec<_> = messages.iter().take_while(is_system).cloned().collect();
                for shot in shots {
                    match shot.prompt {
                        Prompt::Text(question) => whole.push(Message::new("user", question)),
                        Prompt::Chat(messages) => {
                            whole.extend(messages.iter().skip_while(is_system).cloned())
                        }
                        Prompt::Tokens(_) => {
                            return Err(shot
                                .item
                                .fault("prompt", "token ids cannot be part of a conversation"));
                        }
                    }
                    whole.push(Message::new("assistant", shot.answer));
                }
                whole.extend(messages.iter().skip_while(is_system).cloned());
                Ok(Prompt::Chat(whole))
            }
            Prompt::Tokens(_) => Err(item.fault("prompt", "demonstrations cannot be put before token ids")),
        }
    }

    /// The demonstrations, for the description of a task.
    pub(super) fn to_json(&self) -> Value {
        json!({ "count": self.count, "seed": self.seed, "files": self.pool.files(), "sha256": self.pool.sha256() })
    }
}

/// An item as a demonstration.
struct Shot<'a> {
    item: &'a Item,
    prompt: &'a Prompt,
    answer: &'a str,
}

impl<'a> Shot<'a> {
    fn of(item: &'a Item) -> Result<Self> {
        let answer = item.answer().ok_or_else(|| {
            item.fault(
                "references",
                "it is missing, and so are `answer` and a labelled choice: it cannot be a demonstration",
            )
        })?;
        Ok(Self { item, prompt: item.needs_prompt()?, answer })
    }
}
