use std::sync::{Arc, Mutex, PoisonError};

use super::estimates::{Estimates, Step};
use super::kinds::{Match, Tally};

/// The measurements that the texts of one [`Speculative`](super::super::Speculative) share. Clones refer to the same
/// memory.
#[derive(Debug, Clone, Default)]
pub(in crate::speculate) struct Memory(Arc<Mutex<Option<Estimates>>>);

impl Memory {
    /// Begins another text with the measurements of the texts before it.
    pub(super) fn begin(&self, longest: usize) -> Estimates {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = shared.take().map_or_else(|| Estimates::new(longest), |before| before.resumed(longest));
        shared.insert(next).clone()
    }

    /// Adds the measurements of a step to the shared state. Texts that are generated at the same time all add to it,
    /// and none overwrites what another has added. `unread` is the number of tokens that the draft had to catch up with
    /// in the text of this step.
    pub(super) fn learn(&self, step: &Step<'_>, unread: usize) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = shared.as_mut() {
            shared.set_unread(unread);
            shared.learn(step);
        }
    }

    /// Adds how many tokens would have been accepted of what lookups have found.
    pub(super) fn judge(&self, found: &[Tally; Match::KINDS]) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.iter_mut().for_each(|shared| shared.judge(found));
    }
}
