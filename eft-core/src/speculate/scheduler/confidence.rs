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

    /// Makes what was counted so far count for less.
    pub(super) fn rest(&mut self) {
        self.0.iter_mut().for_each(Rate::rest);
    }

    /// The rates, where `mean` is that of all tokens.
    pub(super) fn rates(&self, mean: f64) -> [f64; CLASSES] {
        self.0.map(|rate| rate.mean_with(PRIOR, mean))
    }
}

/// When a draft is long enough: once another token would take longer than it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::speculate) struct DraftEnd {
    pub(super) rates: [f64; CLASSES],
    /// The rate of tokens of which nothing is known yet.
    pub(super) mean: f64,
    /// The tokens that a row gets, by drafts of the best fixed length, in the time that drafting and verifying another one takes.
    pub(super) least: f64,
    /// The same in the time that verifying another one takes.
    pub(super) least_verified: f64,
    /// The most tokens.
    pub(super) longest: usize,
}

impl DraftEnd {
    /// The most tokens of a draft.
    pub(in crate::speculate) fn longest(&self) -> usize {
        self.longest
    }

    /// The rows of a batch of `rows` rows for which another token is drafted. `drafts` are those that are still written, each with the
    /// log-probs of its tokens so far. A pass takes about as long for one row as for all, so what counts is how many tokens it
    /// promises for all of them; a row that promises too few is not even worth verifying.
    ///
    /// Texts keep their distribution, since this depends on nothing but what has been drawn.
    pub(in crate::speculate) fn go_on<'a>(
        &self,
        drafts: impl IntoIterator<Item = (usize, &'a [f32])>,
        rows: usize,
    ) -> Vec<usize> {
        let rates = |log_probs: &'a [f32]| log_probs.iter().map(|log_prob| self.rates[class(*log_prob)]);
        let promised = |(row, log_probs)| (row, rates(log_probs).product::<f64>() * self.mean);
        let promised = drafts.into_iter().map(promised).filter(|(_, tokens)| *tokens >= self.least_verified);
        let (rows_left, tokens): (Vec<_>, Vec<_>) = promised.unzip();
        match tokens.iter().sum::<f64>() >= self.least * rows as f64 {
            true => rows_left,
            false => Vec::new(),
        }
    }
}
