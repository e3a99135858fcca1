/// The decay factor of the sums, applied once for each block.
const DECAY: f64 = 0.9;
/// The least number of blocks, with those that are partly forgotten counted in part.
const LEAST: f64 = 2.5;

/// The tokens per second of the last blocks, by the time that they were expected to take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reached {
    tokens: f64,
    seconds: f64,
    blocks: f64,
}

impl Reached {
    /// Adds the tokens that a row got from a block.
    pub(super) fn add(&mut self, tokens: f64, seconds: f64) {
        self.tokens = DECAY * self.tokens + tokens;
        self.seconds = DECAY * self.seconds + seconds;
        self.blocks = DECAY * self.blocks + 1.0;
    }

    /// Returns the tokens per second; `None` before there are enough blocks.
    pub(super) fn speed(self) -> Option<f64> {
        (self.blocks >= LEAST && self.seconds > 0.0).then(|| self.tokens / self.seconds)
    }
}
