use std::time::Duration;

/// The counts and times of speculative decoding so far, and the speed-up estimated from them.
///
/// Times are measured on the host, from the start of a pass until tokens have been chosen from its scores.
///
/// ```
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
/// let speculative = model.speculate().draft(&model).block(3);
/// let mut text = speculative.generate([0], Decoding::default().max_tokens(8))?;
/// text.by_ref().for_each(drop);
/// let report = text.report().unwrap();
/// assert_eq!((report.tokens, report.acceptance()), (8, Some(1.0)));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The tokens chosen, over all rows, including those that ended a text.
    pub tokens: usize,
    /// The passes of the target's models over a block, each over all unfinished rows.
    pub blocks: usize,
    /// The passes of the target's models without a draft: to measure their time, where nothing can be drafted, and
    /// where drafting does not pay.
    pub plain_steps: usize,
    /// The passes of the draft.
    pub draft_passes: usize,
    /// The tokens drafted, over all rows.
    pub drafted: usize,
    /// The drafted tokens that were judged: in each row of a block the accepted ones and the first rejected one.
    pub judged: usize,
    /// The drafted tokens that were accepted.
    pub accepted: usize,
    /// Those of the drafted tokens that were found by lookup; see [`Lookup`](crate::speculate::Lookup).
    pub looked_up: usize,
    /// Those of the judged tokens that were found by lookup.
    pub looked_up_judged: usize,
    /// Those of the accepted tokens that were found by lookup.
    pub looked_up_accepted: usize,
    /// The time of the draft's passes, and of lookups.
    pub draft_time: Duration,
    /// The time of the passes over blocks.
    pub block_time: Duration,
    /// The time of the plain steps.
    pub plain_time: Duration,
    /// The time that the tokens of the blocks would have taken in plain steps; `None` before a plain step was measured.
    pub undrafted_time: Option<Duration>,
    /// The passes of the target over each row, added up over the rows.
    pub(crate) row_steps: usize,
}

impl Report {
    /// Returns how often a drafted token is accepted, given that all before it were; `None` before one was judged.
    pub fn acceptance(&self) -> Option<f64> {
        ratio(self.accepted as f64, self.judged as f64)
    }

    /// Returns how often a token that a lookup found is accepted, as [`acceptance`](Self::acceptance) does for all drafted ones.
    ///
    /// ```
    /// use eft_core::speculate::Lookup;
    /// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 9.0]));
    /// let speculative = model.speculate().lookup(Lookup::default()).block(3);
    /// let mut text = speculative.generate([1, 1, 1, 1], Decoding::from(Sampling::greedy()).max_tokens(8))?;
    /// text.by_ref().for_each(drop);
    /// let report = text.report().unwrap();
    /// assert_eq!((report.looked_up, report.lookup_acceptance()), (6, Some(1.0)));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn lookup_acceptance(&self) -> Option<f64> {
        ratio(self.looked_up_accepted as f64, self.looked_up_judged as f64)
    }

    /// Returns how often a token that a model drafted is accepted, as [`acceptance`](Self::acceptance) does for all drafted ones.
    pub fn model_acceptance(&self) -> Option<f64> {
        let judged = self.judged.saturating_sub(self.looked_up_judged);
        ratio(self.accepted.saturating_sub(self.looked_up_accepted) as f64, judged as f64)
    }

    /// Returns the tokens that a row gets from one pass of the target, on average.
    pub fn tokens_per_pass(&self) -> Option<f64> {
        ratio(self.tokens as f64, self.row_steps as f64)
    }

    /// Returns the time of a pass of the draft, on average.
    pub fn draft_pass(&self) -> Option<Duration> {
        mean(self.draft_time, self.draft_passes)
    }

    /// Returns the time of verifying a block, on average.
    pub fn block_pass(&self) -> Option<Duration> {
        mean(self.block_time, self.blocks)
    }

    /// Returns the time of a plain step, on average.
    pub fn plain_pass(&self) -> Option<Duration> {
        mean(self.plain_time, self.plain_steps)
    }

    /// Returns how many times faster speculative decoding was than plain decoding, as estimated from the plain steps in
    /// between.
    pub fn speed_up(&self) -> Option<f64> {
        let plain = self.plain_time.as_secs_f64();
        let took = plain + self.draft_time.as_secs_f64() + self.block_time.as_secs_f64();
        ratio(plain + self.undrafted_time?.as_secs_f64(), took)
    }

    /// Returns the seconds saved over plain decoding, as estimated from the plain steps in between; negative if
    /// drafting cost more than it gained.
    pub fn seconds_saved(&self) -> Option<f64> {
        let took = self.draft_time.as_secs_f64() + self.block_time.as_secs_f64();
        Some(self.undrafted_time?.as_secs_f64() - took)
    }
}

fn ratio(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then(|| a / b)
}

fn mean(total: Duration, count: usize) -> Option<Duration> {
    u32::try_from(count).ok().filter(|count| *count > 0).map(|count| total / count)
}
