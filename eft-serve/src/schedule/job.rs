//! [`Job`]: one piece of work for the decoding thread, and [`Update`]: what becomes of it.
use std::sync::Arc;
use std::time::Instant;

use eft::decode::{FinishReason, Piece};
use eft::sample::Processor;
use eft::{Prompt, Sampling, Token, TokenId};
use tokio::sync::mpsc::UnboundedSender;

use crate::models::Source;

/// One prompt, and what to do with it.
pub struct Job {
    /// The combination of models.
    pub source: Source,
    /// The prompt.
    pub prompt: Prompt,
    /// What to do with it.
    pub task: Task,
    /// The index of the first answer of the job among those of its request.
    pub first: usize,
    /// Where updates go. A job whose receiver is gone is cancelled.
    pub updates: UnboundedSender<(usize, Update)>,
    /// When the request came.
    pub submitted: Instant,
    /// When the job is ended, whatever it has.
    pub deadline: Instant,
}

/// What to do with a prompt.
#[derive(Clone)]
pub enum Task {
    /// Generate texts that follow it.
    Generate(Generate),
    /// Score tokens that follow it.
    Score(Score),
}

/// Tokens that are given, to be scored.
#[derive(Clone)]
pub struct Score {
    /// The tokens.
    pub tokens: Vec<TokenId>,
    /// How many of the likeliest tokens are reported at each position.
    pub alternatives: usize,
    /// A text of one token that is generated after them, and the index of its answer. The models read nothing twice for it.
    pub next: Option<(usize, Generate)>,
}

/// How texts are generated.
#[derive(Clone)]
pub struct Generate {
    /// The number of texts.
    pub samples: usize,
    /// How tokens are drawn, with the seed.
    pub sampling: Sampling,
    /// The most tokens of a text.
    pub max_tokens: usize,
    /// The strings before which a text ends.
    pub stops: Vec<String>,
    /// Penalties, biases and grammars, in the order in which they are applied.
    pub processors: Vec<Arc<dyn Processor>>,
    /// Whether the likeliest tokens are reported at each position.
    pub alternatives: bool,
    /// Whether each term's contribution is reported.
    pub attribution: Option<Attribution>,
}

impl Generate {
    /// Whether this is a single text of one token, of which nothing is reported that only a batch of texts can tell.
    #[must_use]
    pub fn is_one_token(&self) -> bool {
        self.samples == 1 && self.max_tokens == 1 && self.attribution.is_none()
    }
}

/// Which terms' contributions are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// Those of all terms, none of which cancels.
    Terms,
    /// Also those of terms that cancel. The models of these would not run otherwise, so only texts that need them share a
    /// batch.
    CancelledTerms,
}

/// What becomes of one answer of a request.
#[derive(Debug, Clone)]
pub enum Update {
    /// The next part of a text.
    Piece(Piece),
    /// The next tokens of a text that was given have been scored.
    Scored(Vec<Scored>),
    /// The answer is complete. It is the last update.
    Finished(End),
    /// The answer cannot be given. It is the last update.
    Failed(Failure),
}

/// How an answer ended.
#[derive(Debug, Clone)]
pub struct End {
    /// The reason.
    pub reason: EndReason,
    /// The tokens that ended the text and do not belong to it.
    pub tail: Vec<Token>,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The text is complete, or as long as it may be.
    Text(FinishReason),
    /// The tokens have been scored.
    Scored,
    /// The time of the request was up.
    Deadline,
    /// The server stops.
    Shutdown,
}

/// A token that was given and scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: TokenId,
    /// Its log-probability in nats after the tokens before it.
    pub log_prob: f32,
    /// The likeliest tokens at its place, and their log-probabilities.
    pub alternatives: Vec<(TokenId, f32)>,
}

/// Why an answer cannot be given.
#[derive(Debug, Clone)]
pub enum Failure {
    /// A model refused it, or failed.
    Models(Arc<eft::Error>),
    /// The time of the request was up before anything was computed.
    Deadline,
    /// The server stops.
    Shutdown,
}

impl Job {
    /// Returns the number of answers.
    #[must_use]
    pub fn answers(&self) -> usize {
        match &self.task {
            Task::Generate(generate) => generate.samples,
            Task::Score(_) => 1,
        }
    }

    /// Returns the combination as a formula in full. Jobs of one formula can share a batch.
    #[must_use]
    pub fn combination(&self) -> String {
        format!("{:#}", self.source)
    }

    /// Returns whether nobody waits for the answers any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.updates.is_closed()
    }

    /// Ends all answers of a job that has not begun.
    pub(super) fn fail(&self, failure: &Failure) {
        for answer in self.first..self.first + self.answers() {
            // A receiver that is gone needs no update.
            let _ = self.updates.send((answer, Update::Failed(failure.clone())));
        }
    }
}
