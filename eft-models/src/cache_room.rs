//! [`CacheRoom`]: which tokens of a row a KV cache has memory for.
//!
//! ```
//! use eft_models::CacheRoom;
//!
//! let mut room = CacheRoom::new(Some(100));
//! for past in 0..10_000 {
//!     room.make(past, 1);
//!     assert!(room.slot(past) < room.capacity() && room.capacity() <= 164);
//!     assert!(room.first() <= past.saturating_sub(100));
//! }
//! ```

/// The number of free places in a new cache, and the least number of them after a full one has been moved.
const SPARE: usize = 32;

/// Which tokens of one row a KV cache has memory for, for tensor libraries that write their caches in place.
///
/// The capacity grows by half when it is used up, so that each token is copied a constant number of times on average. A new
/// cache has a few free places: a text that is generated after a prompt does not move the prompt's tokens at once. A cache that
/// needs to keep a limited number of tokens stops growing at about one and a half times that number, or at that number
/// and a whole pass: then, tokens that are no longer needed make room for new ones. How many tokens of a row are valid is
/// not stored: each call passes that number, and tokens after it are overwritten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheRoom {
    kept: Option<usize>,
    /// The position of the token in the first place.
    first: usize,
    capacity: usize,
}

/// What must be done before new tokens are written: the tokens in the places from `from` on are moved to the beginning of a
/// memory for `capacity` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheMove {
    /// The first place of the tokens that are moved.
    pub from: usize,
    /// The number of tokens that are moved.
    pub tokens: usize,
    /// The number of tokens that there must be memory for, which is not less than before.
    pub capacity: usize,
}

impl CacheRoom {
    /// An empty cache. If `kept` is set, tokens that are further than this before the new ones may be forgotten.
    pub fn new(kept: Option<usize>) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Makes room for `tokens` new tokens after the first `past` tokens of the row. Returns what must be moved for that;
    /// `None` if there is room already.
    ///
    /// `past` must not be less than [`first`](Self::first), unless it is 0: a row that is rolled back further is read again
    /// from its beginning.
    pub fn make(&mut self, past: usize, tokens: usize) -> Option<CacheMove> {
        if past == 0 {
            self.first = 0;
        }
        if past + tokens <= self.first + self.capacity {
            return None;
        }
        let first = self.kept.map_or(self.first, |kept| self.first.max(past.saturating_sub(kept)));
        let needed = past + tokens - first;
        let most =
            self.kept.map_or(usize::MAX, |kept| kept.saturating_add((kept / 2).max(tokens).max(SPARE)));
        let grown = (needed + SPARE).max(self.capacity + self.capacity / 2).min(most);
        self.capacity = self.capacity.max(grown);
        let from = first - self.first;
        self.first = first;
        Some(CacheMove { from, tokens: past.saturating_sub(first), capacity: self.capacity })
    }

    /// Returns the position of the first token that there is memory for.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Returns the place of a position, which must not be less than [`first`](Self::first).
    pub fn slot(&self, position: usize) -> usize {
        position.saturating_sub(self.first)
    }

    /// Returns the number of tokens that there is memory for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the room of a copy of the row's first `length` tokens, with memory for no more than those.
    #[must_use]
    pub fn copy(&self, length: usize) -> Self {
        Self { capacity: self.slot(length).min(self.capacity), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A memory that is moved as it is told holds every token that may be needed, and does not grow without bound.
        #[test]
        fn what_is_kept_is_found(kept in 0usize..200, steps in prop::collection::vec((1usize..90, 0usize..40), 1..60)) {
            for kept in [Some(kept), None] {
                let mut room = CacheRoom::new(kept);
                let (mut memory, mut length, mut longest, mut all) = (Vec::new(), 0usize, 0usize, 0usize);
                // The largest `past` since the row was last read from its beginning.
                let mut furthest = 0;
                for (step, (tokens, back)) in steps.iter().enumerate() {
                    // A row that is rolled back further than what is kept is read again from its beginning.
                    let mut past = length.saturating_sub(*back);
                    if past < room.first() {
                        past = 0;
                    }
                    if let Some(CacheMove { from, tokens, capacity }) = room.make(past, *tokens) {
                        let moved: Vec<(usize, usize)> = memory[from..from + tokens].to_vec();
                        memory = vec![(usize::MAX, 0); capacity];
                        memory[..tokens].copy_from_slice(&moved);
                    }
                    for position in past..past + tokens {
                        memory[room.slot(position)] = (position, step);
                    }
                    length = past + tokens;
                    longest = longest.max(*tokens);
                    all = all.max(length);
                    let first = kept.map_or(0, |kept| past.saturating_sub(kept)).max(room.first());
                    prop_assert!(kept.is_some() || room.first() == 0);
                    furthest = if past == 0 { 0 } else { furthest.max(past) };
                    prop_assert!(room.first() <= furthest.saturating_sub(kept.unwrap_or(furthest)));
                    for position in first..length {
                        prop_assert_eq!(memory[room.slot(position)].0, position);
                    }
                    let most = kept.map_or(all + (all / 2).max(SPARE), |kept| kept + (kept / 2).max(longest).max(SPARE));
                    prop_assert!(room.capacity() <= most, "{room:?}");
                }
            }
        }
    }
}
