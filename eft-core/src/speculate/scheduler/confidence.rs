//! Acceptance rates of drafted tokens by how sure the draft was of each, and when a draft is long enough.
use super::rate::Rate;

/// The log-probs, in nats, between tokens of which the draft was more or less sure.
const BOUNDS: [f32; 5] = [-0.02, -0.1, -0.3, -0.7, -1.2];
const CLASSES: usize = BOUNDS.len() + 1;

/// The weight of the rate of all tokens in that of a class, in judged tokens.
const PRIOR: f64 = 2.0;

/// The class of a token that a draft drew with this log-probability.
fn class(log_prob: f32) -> usize {
    BOUNDS.iter().take_while(|bound| log_prob <= **bound).count()
}

/// A drafted token that was judged.
#[derive(Debug, Clone, Copy)]
pub(in crate::speculate) struct Judged {
    /// The log-probability in the distribution that it was drawn from.
    pub(in crate::speculate) log_prob: f32,
    pub(in crate::speculate) accepted: bool,
}

impl Judged {
    /// The judged tokens of a draft, from the log-probs of all its tokens.
    pub(in crate::speculate) fn all(
        log_probs: &[f32],
        accepted: usize,
        judged: usize,
    ) -> impl Iterator<Item = Self> + '_ {
        let tokens = log_probs.iter().take(judged).enumerate();
        tokens.map(move |(i, log_prob)| Self { log_prob: *log_prob, accepted: i < accepted })
    }
}

/// Acceptance rates by how sure the draft was.
#[derive(Debug, Clone)]
pub(super) struct Confidence([Rate; CLASSES]);

impl Default for Confidence {
    fn default() -> Self {
        Self([Rate::none(); CLASSES])
    }
}

impl Confidence {
    pub(super) fn add(&mut self, judged: &[Judged]) {
        judged.iter().for_each(|token| self.0[class(token.log_prob)].add(usize::from(token.accepted), 1));
    }

    /// The rates, where `mean` is that of all tokens.
    pub(super) fn rates(&self, mean: f64) -> [f64; CLASSES] {
        self.0.map(|rate| rate.mean_with(PRIOR, mean))
    }
}

/// When a draft is long enough: once another token would take longer than it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::speculate) struct GoOn {
    pub(super) rates: [f64; CLASSES],
    /// The rate of tokens of which nothing is known yet.
    pub(super) mean: f64,
    /// The tokens that are written otherwise in the time that drafting and verifying another one takes.
    pub(super) least: f64,
    /// The most tokens.
    pub(super) longest: usize,
}

impl GoOn {
    /// The most tokens of a draft.
    pub(in crate::speculate) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether to draft another token for the rows that are still written, of a batch of this many rows. `drafts` are the log-probs of
    /// their tokens so far.
    pub(in crate::speculate) fn goes_on<'a>(
        &self,
        drafts: impl IntoIterator<Item = &'a [f32]>,
        rows: usize,
    ) -> bool {
        let chance = |log_probs: &[f32]| log_probs.iter().map(|p| self.rates[class(*p)]).product::<f64>();
        let chances: f64 = drafts.into_iter().map(chance).sum();
        chances * self.mean >= self.least * rows as f64
    }
}
