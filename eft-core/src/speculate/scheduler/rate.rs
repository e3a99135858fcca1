/// The decay factor of the counts, applied once for each newly judged token.
const DECAY: f64 = 0.98;
/// The decay factor after a rest and when a text begins.
const AFTER_REST: f64 = 0.5;

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

    pub(super) fn mean(self) -> f64 {
        self.accepted / self.judged
    }

    pub(super) fn add(&mut self, accepted: usize, judged: usize) {
        self.keep(DECAY.powi(judged as i32));
        self.accepted += accepted as f64;
        self.judged += judged as f64;
    }

    /// Makes what was counted so far count for less, but not for nothing, however many texts have no draft.
    pub(super) fn rest(&mut self) {
        if self.judged >= 1.0 {
            self.keep(AFTER_REST);
        }
    }

    fn keep(&mut self, share: f64) {
        (self.accepted, self.judged) = (share * self.accepted, share * self.judged);
    }
}
