use std::sync::{Arc, Mutex, PoisonError};

use super::adaptive::{Adaptive, Measured};

/// What the texts of one [`Speculative`](super::super::Speculative) learn from each other. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::speculate) struct Memory(Arc<Mutex<Option<Adaptive>>>);

impl Memory {
    /// Begins another text with what the texts before it have learnt.
    pub(super) fn begin(&self, longest: usize) -> Adaptive {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = shared.take().map_or_else(|| Adaptive::new(longest), |before| before.resumed(longest));
        shared.insert(next).clone()
    }

    /// Adds a block to what is shared. Texts that run at once all add theirs, and none replaces those of another.
    /// `unread` is the number of tokens of the text that the draft had to catch up with.
    pub(super) fn learn(&self, block: &Measured, unread: usize) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = shared.as_mut() {
            shared.set_unread(unread);
            shared.learn(block);
        }
    }
}
