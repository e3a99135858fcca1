//! [`ProofReport`]: how many choices were proven.
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the positions that a [`ProvenSum`](super::ProvenSum) has scored were proven. The positions of drafts that
/// were rejected count, too.
///
/// ```
/// let report = eft_backend_remote::ProofReport::default();
/// assert_eq!((report.positions(), report.share_proven()), (0, None));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProofReport {
    /// The positions that were proven by the first answer.
    pub at_once: u64,
    /// The positions that were proven by the second answer, which named more tokens.
    pub widened: u64,
    /// The positions that were proven by neither.
    pub unproven: u64,
}

impl ProofReport {
    /// Returns the number of positions.
    pub fn positions(&self) -> u64 {
        self.at_once + self.widened + self.unproven
    }

    /// Returns the share of the positions that were proven; `None` if there are no positions.
    pub fn share_proven(&self) -> Option<f64> {
        let positions = self.positions();
        (positions > 0).then(|| (self.at_once + self.widened) as f64 / positions as f64)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    at_once: AtomicU64,
    widened: AtomicU64,
    unproven: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, new: ProofReport) {
        self.at_once.fetch_add(new.at_once, Ordering::Relaxed);
        self.widened.fetch_add(new.widened, Ordering::Relaxed);
        self.unproven.fetch_add(new.unproven, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> ProofReport {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProofReport { at_once: of(&self.at_once), widened: of(&self.widened), unproven: of(&self.unproven) }
    }
}
