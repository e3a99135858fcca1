//! [`Parked`]: a row of a session that waits to be continued.
use super::prefix::shared_prefix;
use crate::EngineRow;

/// A row of a session that belongs to no row of the batch. It waits for a prompt that begins as it does.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    /// What it holds.
    pub(super) row: EngineRow,
    /// When it was last of use. Larger is later.
    pub(super) used: u64,
    /// The prompt that is being read into it, if it is not complete yet. It is then not dropped.
    pub(super) reading: Option<usize>,
}

/// The rows that are kept if they may hold `limit` tokens together: those used last, without rows that another one begins
/// with. Rows that prompts are being read into are kept in any case.
pub(super) fn within(mut all: Vec<(usize, Parked)>, limit: usize) -> Vec<(usize, Parked)> {
    all.sort_by_key(|(_, parked)| (parked.reading.is_none(), std::cmp::Reverse(parked.used)));
    let mut kept: Vec<(usize, Parked)> = Vec::new();
    let mut tokens = 0;
    for (row, parked) in all {
        if parked.reading.is_none() {
            let length = parked.row.tokens.len();
            let begins = |other: &EngineRow| {
                other.adapter == parked.row.adapter
                    && shared_prefix(&other.tokens, &parked.row.tokens) == length
            };
            if tokens + length > limit || kept.iter().any(|(_, kept)| begins(&kept.row)) {
                continue;
            }
            tokens += length;
        }
        kept.push((row, parked));
    }
    kept
}
