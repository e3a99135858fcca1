use std::sync::{Arc, Mutex, PoisonError};

use super::adaptive::{Adaptive, Measured};

/// The measurements that the texts of one [`Speculative`](super::super::Speculative) share. Clones refer to the same
/// memory.
#[derive(Debug, Clone, Default)]
pub(in crate::speculate) struct Memory(Arc<Mutex<Option<Adaptive>>>);

impl Memory {
    /// Begins another text with the measurements of the texts before it.
    pub(super) fn begin(&self, longest: usize) -> Adaptive {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = shared.take().map_or_else(|| Adaptive::new(longest), |before| before.resumed(longest));
        shared.insert(next).clone()
    }

    /// Adds the measurements of a block to the shared state. Texts that are generated at the same time all add to it,
    /// and none overwrites what another has added. `unread` is the number of tokens that the draft had to catch up with
    /// in the text of this block.
    pub(super) fn learn(&self, block: &Measured, unread: usize) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = shared.as_mut() {
            shared.set_unread(unread);
            shared.learn(block);
        }
    }
}
