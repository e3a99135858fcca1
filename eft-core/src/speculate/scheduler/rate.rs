/// The decay factor of the counts, applied once for each newly judged token.
const DECAY: f64 = 0.98;
/// The decay factor after a rest and when a text begins.
const AFTER_REST: f64 = 0.5;
/// The weight below which counts do not decay further, since nothing would be left of them.
const LEAST: f64 = 1e-6;

/// How often a drafted token is accepted, given that all before it were: counts that forget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    accepted: f64,
    judged: f64,
}

impl Rate {
    /// Three of four, until more is known.
    pub(super) fn unknown() -> Self {
        Self { accepted: 1.5, judged: 2.0 }
    }

    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self { accepted: 0.0, judged: 0.0 }
    }

    /// The mean together with as many tokens as `weight`, of which a share of `mean` was accepted.
    pub(super) fn mean_with(self, weight: f64, mean: f64) -> f64 {
        (self.accepted + weight * mean) / (self.judged + weight)
    }

    pub(super) fn mean(self) -> f64 {
        self.accepted / self.judged
    }

    /// Adds judged tokens.
    pub(super) fn add(&mut self, accepted: usize, judged: usize) {
        self.replace(DECAY.powi(judged as i32), accepted, judged);
    }

    /// Adds the first judged tokens after a rest.
    pub(super) fn add_after_rest(&mut self, accepted: usize, judged: usize) {
        self.replace(AFTER_REST, accepted, judged);
    }

    /// Makes what was counted so far count for less, but not for nothing, however many texts have no draft.
    pub(super) fn rest(&mut self) {
        if self.judged > LEAST {
            self.replace(AFTER_REST, 0, 0);
        }
    }

    fn replace(&mut self, kept: f64, accepted: usize, judged: usize) {
        self.accepted = kept * self.accepted + accepted as f64;
        self.judged = kept * self.judged + judged as f64;
    }
}
