//! What is evaluated: items, and how each is scored.
//!
//! A [`Task`] is a list of [`Items`] and one of three ways to score them:
//!
//! * [`Task::texts`]: the source writes a text for each prompt, and a [`Grader`] scores it: [`ExactMatch`],
//!   [`NumericMatch`], a function of yours ([`PassFail`]), or a pair of models ([`ImplicitReward`]);
//! * [`Task::choices`]: the source gives each choice a log-likelihood, and the likeliest counts as its answer;
//! * [`Task::likelihood`]: the log-likelihood of given texts, in nats a token and bits a byte.
//!
//! ```
//! use eft_eval::{ExactMatch, Item, Items, Task};
//!
//! let items = Items::of([
//!     Item::new("1", "What is the capital of France?").reference("Paris"),
//!     Item::new("2", "What is the capital of Peru?").reference("Lima"),
//! ])?;
//! let task = Task::texts(items, ExactMatch::default())?;
//! assert_eq!(task.items().len(), 2);
//! # Ok::<(), eft_eval::Error>(())
//! ```
mod choices;
mod exact_match;
mod extract;
mod few_shot;
mod grader;
mod implicit_reward;
mod item;
mod items;
mod line;
mod normalise;
mod numeric_match;
mod pass_fail;

pub use choices::{Choices, LengthNorm};
pub use exact_match::ExactMatch;
pub use extract::Extract;
pub use few_shot::FewShot;
pub use grader::{Answer, Grade, Grader};
pub use implicit_reward::ImplicitReward;
pub use item::Item;
pub use items::Items;
pub use normalise::Normalise;
pub use numeric_match::NumericMatch;
pub use pass_fail::PassFail;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Error, Result};

/// Items, and how each is scored. See the [module](self).
#[derive(Clone)]
#[must_use]
pub struct Task {
    items: Items,
    kind: Kind,
    /// The description of the demonstrations, if there are any.
    few_shot: Option<Value>,
}

/// How the items of a task are scored.
#[derive(Clone)]
pub(crate) enum Kind {
    /// Texts are generated and graded.
    Texts(Arc<dyn Grader>),
    /// The choices' log-likelihoods are compared.
    Choices(Choices),
    /// The log-likelihood of given texts is measured.
    Likelihood,
}

impl Task {
    /// Creates the task of writing a text for each prompt, which a grader scores.
    ///
    /// # Errors
    /// * [`Error::Field`] if an item has no prompt, or lacks what the grader needs.
    /// * [`Error::NoItems`] if there are no items.
    pub fn texts(items: Items, grader: impl Grader + 'static) -> Result<Self> {
        let check = |item: &Item| item.needs_prompt().and_then(|_| grader.check(item));
        items.iter().try_for_each(check)?;
        Self::new(items, Kind::Texts(Arc::new(grader)))
    }

    /// Creates the task of choosing among the choices of each item, by their log-likelihoods.
    ///
    /// ```
    /// use eft_eval::{Choices, Item, Items, LengthNorm, Task};
    ///
    /// let items = Items::of([Item::new("1", "The sky is").choices(["green", "blue"], 1)])?;
    /// let task = Task::choices(items, Choices::default().norm(LengthNorm::Byte))?;
    /// # let _ = task;
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Field`] if an item has no prompt, no choices or no label.
    /// * [`Error::NoItems`] if there are no items.
    pub fn choices(items: Items, choices: Choices) -> Result<Self> {
        items.iter().try_for_each(Choices::check)?;
        Self::new(items, Kind::Choices(choices))
    }

    /// Creates the task of measuring the log-likelihood of each item's text.
    ///
    /// A text follows the prompt of its item. Without a prompt, it follows the token that begins a text; if the
    /// tokenizer has no such token, the first token of the text is not scored.
    ///
    /// ```
    /// use eft_eval::{Item, Items, Task};
    ///
    /// let task = Task::likelihood(Items::of([Item::of_text("1", "Once upon a time")])?)?;
    /// # let _ = task;
    /// # Ok::<(), eft_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Field`] if an item has no text.
    /// * [`Error::NoItems`] if there are no items.
    pub fn likelihood(items: Items) -> Result<Self> {
        let missing = |item: &&Item| item.text.as_ref().is_none_or(String::is_empty);
        match items.iter().find(missing) {
            Some(item) => Err(item.fault("text", "it is missing or empty")),
            None => Self::new(items, Kind::Likelihood),
        }
    }

    fn new(items: Items, kind: Kind) -> Result<Self> {
        match items.is_empty() {
            true => Err(Error::NoItems { origin: "the task".into() }),
            false => Ok(Self { items, kind, few_shot: None }),
        }
    }

    /// Puts demonstrations before every prompt.
    ///
    /// # Errors
    /// [`Error::Field`] if a demonstration has no answer, if there are too few of them, or if one of them cannot be put
    /// before a prompt of another form.
    pub fn few_shot(self, few_shot: FewShot) -> Result<Self> {
        let description = Some(few_shot.to_json());
        Ok(Self { items: few_shot.apply(self.items)?, few_shot: description, ..self })
    }

    /// Returns the items, with their demonstrations.
    pub fn items(&self) -> &Items {
        &self.items
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The description of the task, which a file of results holds.
    pub(crate) fn to_json(&self) -> Value {
        let (kind, settings) = match &self.kind {
            Kind::Texts(grader) => (grader.name(), grader.settings()),
            Kind::Choices(choices) => ("choices".into(), json!(choices)),
            Kind::Likelihood => ("likelihood".into(), Value::Null),
        };
        json!({
            "kind": kind,
            "settings": settings,
            "few_shot": self.few_shot,
            "items": self.items.len(),
            "files": self.items.files(),
            "sha256": self.items.sha256(),
        })
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.to_json())
    }
}
