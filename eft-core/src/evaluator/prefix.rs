//! Finding the row whose cache another row can continue from.
use crate::{EngineRow, TokenId};

/// Finds the row of a session that shares the longest prefix with `row`, among those of its adapter that can roll back to
/// where they part. Of several, it is the one with the fewest tokens, since it may be copied.
///
/// `read` has the tokens that each row of the session holds, and `limits` how many of them it can drop. Returns the index of
/// the row and the length of the prefix. The last token of `row` is never part of it: its scores are wanted, so it is fed
/// again.
pub(super) fn nearest(read: &[EngineRow], limits: &[usize], row: &EngineRow) -> Option<(usize, usize)> {
    let last = row.tokens.len().checked_sub(1)?;
    let old = read.iter().zip(limits).enumerate().filter(|(_, (old, _))| old.adapter == row.adapter);
    let shared = old.map(|(index, (old, limit))| {
        let kept = shared_prefix(&old.tokens, &row.tokens).min(last);
        (index, kept, old.tokens.len(), *limit)
    });
    let reachable = shared.filter(|(_, kept, length, limit)| length - kept <= *limit);
    let best = reachable.max_by_key(|(index, kept, length, _)| {
        (*kept, std::cmp::Reverse(*length), std::cmp::Reverse(*index))
    });
    best.map(|(index, kept, ..)| (index, kept))
}

/// The number of tokens at the beginning of `a` that `b` begins with, too.
pub(super) fn shared_prefix(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
