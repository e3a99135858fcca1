use crate::decode::Decoding;
use crate::{Error, Result};

/// The settings of a search: see the methods of [`ChunkBeamSearch`](super::ChunkBeamSearch) of the same names.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) width: usize,
    pub(super) successors: usize,
    pub(super) chunk: usize,
    pub(super) budget: Option<usize>,
    pub(super) decoding: Decoding,
}

impl Settings {
    /// The most rows that are extended at once.
    pub(super) fn rows(&self) -> usize {
        self.width.saturating_mul(self.successors)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let numbers = [("width", self.width), ("successors", self.successors), ("chunk", self.chunk)];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, number)) => Err(Error::parameter(name, number, "at least 1")),
            None => Ok(()),
        }
    }
}
