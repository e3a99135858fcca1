use std::time::Duration;

/// What speculation did, and what it was worth. Times are measured on the host, from the first call of a pass to the
/// tokens that come of it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Tokens chosen, over all rows; also those that ended a text.
    pub tokens: usize,
    /// Passes of the target's models over a block, each over all rows that go on.
    pub blocks: usize,
    /// Passes of the target's models without a draft: to learn what they cost, where nothing can be drafted, and
    /// where drafting does not pay.
    pub plain_steps: usize,
    /// Passes of the draft.
    pub draft_passes: usize,
    /// Tokens drafted, over all rows.
    pub drafted: usize,
    /// Those that were judged: the accepted ones, and in each block of a row the first that was not.
    pub judged: usize,
    /// Those that were accepted.
    pub accepted: usize,
    /// Time in passes of the draft.
    pub draft_time: Duration,
    /// Time in passes over blocks.
    pub block_time: Duration,
    /// Time in plain steps.
    pub plain_time: Duration,
    /// What the blocks' tokens would have taken in plain steps; `None` before a plain step has been measured.
    pub undrafted_time: Option<Duration>,
    /// Passes of the target over each row.
    pub(super) row_steps: usize,
}

impl Report {
    /// How often a drafted token is accepted if all before it were; `None` before one was judged.
    pub fn acceptance(&self) -> Option<f64> {
        ratio(self.accepted as f64, self.judged as f64)
    }

    /// Tokens that a row gets of a pass of the target.
    pub fn tokens_per_pass(&self) -> Option<f64> {
        ratio(self.tokens as f64, self.row_steps as f64)
    }

    /// What a pass of the draft costs, on average.
    pub fn draft_pass(&self) -> Option<Duration> {
        mean(self.draft_time, self.draft_passes)
    }

    /// What judging a block costs, on average.
    pub fn block_pass(&self) -> Option<Duration> {
        mean(self.block_time, self.blocks)
    }

    /// What a plain step costs, on average.
    pub fn plain_pass(&self) -> Option<Duration> {
        mean(self.plain_time, self.plain_steps)
    }

    /// How many times faster than plain decoding it was, judged by the plain steps in between.
    pub fn speed_up(&self) -> Option<f64> {
        let plain = self.plain_time.as_secs_f64();
        let took = plain + self.draft_time.as_secs_f64() + self.block_time.as_secs_f64();
        ratio(plain + self.undrafted_time?.as_secs_f64(), took)
    }

    /// Seconds saved over plain decoding, judged by the plain steps in between; negative where drafting cost more
    /// than it gave.
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
