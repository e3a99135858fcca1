use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result, TokenId};

/// The settings of a source over bytes: see [`Source::bytes_with`](crate::Source::bytes_with).
///
/// ```
/// use eft_core::bytes::ByteSettings;
///
/// let settings = ByteSettings::default().prune(0.001);
/// # let _ = settings;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ByteSettings {
    pub(super) pruned: f64,
    pub(super) covering: Option<f64>,
    pub(super) ahead: f64,
    pub(super) controls: Vec<(String, Vec<TokenId>)>,
    pub(super) work: Work,
}

impl Default for ByteSettings {
    /// Canonical sequences, exactly, and without controls.
    fn default() -> Self {
        let (controls, work) = (Vec::new(), Work::default());
        Self { pruned: 0.0, covering: None, ahead: 0.3, controls, work }
    }
}

impl ByteSettings {
    /// Does not run the model after token sequences that together have at most this share of the probability of the text so
    /// far. The default is 0: rows are exact. With another value, a row differs from the exact one by at most this much in
    /// total variation; a sequence that becomes more probable than that with later bytes is then taken up again.
    ///
    /// The probabilities of very improbable bytes, and their ratios between two models, may differ by any factor. So do not
    /// subtract sources that are pruned: where both find a byte improbable, their difference is arbitrary, and it may become
    /// the likeliest byte of a sum.
    pub fn prune(self, share: f64) -> Self {
        Self { pruned: share, ..self }
    }

    /// Sums over all token sequences that spell a text, and not only over the one that the model's tokenizer writes: for
    /// tokenizers of which it is not known which sequences they write, such as SentencePiece's, WordPiece, and byte-level BPE
    /// with an unusual regular expression. Without this, they are refused. See [all sequences](super#all-sequences) for the
    /// distribution, and for what is done with prompts.
    ///
    /// The number of sequences grows exponentially with the length of a text. So the improbable ones are dropped: a sequence
    /// whose share of the probability of the text so far is below `share`, unless it is the likeliest of those whose whole
    /// tokens end at the same byte. At most `1 / share` sequences remain, and one for each length of a token. A sequence that
    /// is dropped is not taken up again, and nothing bounds what it would have contributed later; [`Work::dropped`] says how
    /// much was dropped. With 0, nothing is, which is for tiny vocabularies and short texts: a text with more than 1,000
    /// sequences is an error then.
    ///
    /// ```
    /// use eft_core::bytes::{ByteSettings, Work};
    ///
    /// let work = Work::default();
    /// let settings = ByteSettings::default().covering(0.01).count(&work);
    /// # let _ = settings;
    /// ```
    pub fn covering(self, share: f64) -> Self {
        Self { covering: Some(share), ..self }
    }

    /// Sets what a pass of the model computes beside what the next byte needs: also what the bytes after it will need, where
    /// they have at least this probability by what is known. Where it is known which random numbers will draw the next bytes, as in
    /// sampled generation, the bytes that these would draw are followed instead, whatever their probability. The default is 0.3; with 1,
    /// nothing is computed ahead. Scores are the same, but for rounding.
    ///
    /// A model must run after nearly every byte, but a pass of a few positions takes little longer than one. What is computed
    /// ahead and not needed costs positions; what is not computed ahead costs passes. A model for which a pass of two positions
    /// takes twice the time of one, such as one on a server that reads its prompt anew, is better used with 1. It matters for
    /// texts that grow byte by byte, and not for scores of given texts. In large batches, little is computed ahead.
    pub fn ahead(self, probability: f64) -> Self {
        Self { ahead: probability, ..self }
    }

    /// Adds a token to the vocabulary of the source for some special tokens of the model, whose probabilities are added up.
    /// Added tokens have the ids from 257 on, in the order in which they are added. Without this, special tokens that do
    /// not end a text are never generated.
    ///
    /// To combine models, add the tokens of the same roles in the same order to each of them, with equal names.
    pub fn control(mut self, name: impl Into<String>, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.controls.push((name.into(), tokens.into_iter().collect()));
        self
    }

    /// Counts in `work` what is computed.
    pub fn count(self, work: &Work) -> Self {
        Self { work: work.clone(), ..self }
    }

    pub(super) fn validate(&self) -> Result<()> {
        for (name, share) in [("prune", self.pruned), ("covering", self.covering.unwrap_or(0.0))] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::parameter(name, share, "at least 0 and less than 1"));
            }
        }
        if !(self.ahead > 0.0 && self.ahead <= 1.0) {
            return Err(Error::parameter("ahead", self.ahead, "above 0 and at most 1"));
        }
        if self.covering.is_some() && self.pruned > 0.0 {
            let expected = "0 beside `covering`, which has a share of its own";
            return Err(Error::parameter("prune", self.pruned, expected));
        }
        Ok(())
    }
}

/// Counts of what a source over bytes has computed. Clones share the counts.
///
/// ```
/// use eft_core::bytes::{ByteSettings, Work};
///
/// let work = Work::default();
/// let settings = ByteSettings::default().count(&work);
/// assert_eq!((work.positions(), work.passes()), (0, 0));
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Work(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    positions: AtomicUsize,
    passes: AtomicUsize,
    most_lanes: AtomicUsize,
    dropped: Mutex<Dropped>,
}

/// The shares of the probability that were dropped, one for each symbol that was read.
#[derive(Debug, Default)]
struct Dropped {
    sum: f64,
    symbols: usize,
}

impl Work {
    /// Returns how many tokens were fed to the model's session after prompts. Those that a row lacks and another row has read may be
    /// taken from its cache instead of being computed.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.0.positions.load(Ordering::Relaxed)
    }

    /// Returns how many passes it has made after prompts.
    #[must_use]
    pub fn passes(&self) -> usize {
        self.0.passes.load(Ordering::Relaxed)
    }

    /// Returns the most rows that the model's session had at once.
    #[must_use]
    pub fn most_rows(&self) -> usize {
        self.0.most_lanes.load(Ordering::Relaxed)
    }

    /// Returns which share of the probability of the text so far was dropped when a byte was read, on average over all bytes:
    /// by sources that [sum over all sequences](ByteSettings::covering). 0 for others, which drop nothing.
    #[must_use]
    pub fn dropped(&self) -> f64 {
        let dropped = self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.sum / dropped.symbols.max(1) as f64
    }

    pub(super) fn read(&self, dropped: f64) {
        let mut counts = self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sum += dropped;
        counts.symbols += 1;
    }

    pub(super) fn pass(&self, positions: usize, lanes: usize) {
        self.0.positions.fetch_add(positions, Ordering::Relaxed);
        self.0.passes.fetch_add(1, Ordering::Relaxed);
        self.0.most_lanes.fetch_max(lanes, Ordering::Relaxed);
    }
}
