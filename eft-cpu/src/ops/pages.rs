//! The memory of a KV cache: pages that several rows can share.
use std::ops::Range;
use std::sync::Arc;

use super::Heads;
use super::stored::Unit;

/// The least number of further tokens that a new page has room for, in a cache that keeps all tokens.
const SPARE: usize = 32;

/// A page that follows a full one has room for an eighth as many further tokens as the row has, so that a long text has few pages.
const GROWTH: usize = 8;

/// In a cache that may forget tokens, a page has room for at most a quarter of the tokens that are kept, or for [`SPARE`] if that is more.
const WINDOW: usize = 4;

/// A page with no more than this number of tokens is copied if another row shares it and new tokens follow it. After more of them, a
/// new page begins. So rows that part again and again have no pages of a few tokens.
const COPIED: usize = 16;

/// The keys and values of one row, of consecutive tokens.
#[derive(Debug, Clone)]
pub(super) struct Pages<U> {
    pages: Vec<Page<U>>,
}

/// Some tokens of a row, in memory that other rows may share.
#[derive(Debug, Clone)]
struct Page<U> {
    /// The positions of these tokens. The memory may hold further ones, which are not of this row.
    tokens: Range<usize>,
    /// The number of tokens that there is memory for.
    capacity: usize,
    heads: Arc<[Head<U>]>,
}

/// The keys and the values of one head, each a whole number of units.
#[derive(Debug, Clone)]
struct Head<U> {
    keys: Vec<U>,
    values: Vec<U>,
}

impl<U> Default for Pages<U> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<U: Unit> Pages<U> {
    pub(super) fn capacity(&self) -> usize {
        self.pages.iter().map(|page| page.capacity).sum()
    }

    pub(super) fn shared(&self, other: &Self) -> usize {
        let is_shared =
            |page: &&Page<U>| other.pages.iter().any(|other| Arc::ptr_eq(&page.heads, &other.heads));
        self.pages.iter().filter(is_shared).map(|page| page.capacity).sum()
    }

    /// The positions of the tokens.
    fn tokens(&self) -> Range<usize> {
        let start = self.pages.first().map_or(0, |page| page.tokens.start);
        start..self.pages.last().map_or(start, |page| page.tokens.end)
    }

    /// Drops the tokens after the first `length` ones.
    fn truncate(&mut self, length: usize) {
        self.pages.retain(|page| page.tokens.start < length);
        if let Some(last) = self.pages.last_mut() {
            last.tokens.end = last.tokens.end.min(length);
        }
    }

    /// Writes the keys and values of new tokens (tokens × key heads × head width) after the first `past` tokens. Tokens that the
    /// cache held after those are dropped, and so are pages whose tokens are all further than `kept` before the new ones.
    pub(super) fn append(
        &mut self,
        kept: Option<usize>,
        past: usize,
        keys: &[f32],
        values: &[f32],
        spec: &Heads<'_>,
    ) {
        let width = spec.kv_heads * spec.head_dim;
        let end = past + keys.len() / width;
        self.truncate(past);
        assert_eq!(self.tokens().end, past, "the number of tokens that a KV cache holds before the new ones");
        if let Some(kept) = kept {
            self.pages.retain(|page| page.tokens.end > past.saturating_sub(kept));
        }
        // Where tokens are forgotten, pages are small enough for most of the memory to hold tokens that are kept.
        let largest = kept.map_or(usize::MAX, |kept| SPARE.max(kept / WINDOW));
        let mut next = past;
        while next < end {
            let Some(room) = self.room_in_last(end - next, largest, spec) else {
                // A row that shares its last page may share this one soon, too, so that its room would be lost.
                let is_full = self.pages.last().is_some_and(|last| last.tokens.len() == last.capacity);
                let spare = if is_full { SPARE.max(self.tokens().len() / GROWTH) } else { SPARE };
                let capacity = end - next + spare;
                self.pages.push(Page::new(next, capacity.min(largest), spec));
                continue;
            };
            let written = room.min(end - next);
            let of_written = (next - past) * width..(next - past + written) * width;
            if let Some(last) = self.pages.last_mut() {
                last.append(&keys[of_written.clone()], &values[of_written], spec);
            }
            next += written;
        }
    }

    /// The number of tokens that the last page has room for, if new ones may be written to it: it is this row's own, or has few tokens
    /// and becomes its own.
    fn room_in_last(&mut self, new: usize, largest: usize, spec: &Heads<'_>) -> Option<usize> {
        let last = self.pages.last_mut()?;
        if Arc::get_mut(&mut last.heads).is_none() {
            if last.tokens.len() > COPIED {
                return None;
            }
            *last = last.copied((last.tokens.len() + new.max(COPIED)).min(largest), spec);
        }
        Some(last.capacity - last.tokens.len()).filter(|room| *room > 0)
    }

    /// Shares the pages of another row up to the end of these tokens: see [`RowCache::take_tokens`](super::RowCache::take_tokens).
    pub(super) fn take(&mut self, from: &Self, tokens: Range<usize>) -> bool {
        let (own, held) = (self.tokens(), from.tokens());
        let is_known = tokens.start == 0 || (own.start <= tokens.start && tokens.start <= own.end);
        let is_held = held.start <= tokens.start && tokens.end <= held.end;
        let takes = is_known && is_held && !tokens.is_empty() && (own.is_empty() || held.start <= own.start);
        if takes {
            self.clone_from(from);
            self.truncate(tokens.end);
        }
        takes
    }

    /// The keys and values of one head at these positions, page by page.
    #[inline(always)]
    pub(super) fn seen(&self, head: usize, positions: Range<usize>, units: usize) -> Seen<'_, U> {
        debug_assert!(
            positions.is_empty() || self.tokens().start <= positions.start,
            "positions that a KV cache has forgotten"
        );
        let first = self.pages.partition_point(|page| page.tokens.end <= positions.start);
        Seen { pages: self.pages[first..].iter(), head, positions, units }
    }
}

impl<U: Unit> Page<U> {
    /// An empty page whose first token will have this position.
    fn new(position: usize, capacity: usize, spec: &Heads<'_>) -> Self {
        let units = capacity * units::<U>(spec.head_dim);
        let head = |_| Head { keys: Vec::with_capacity(units), values: Vec::with_capacity(units) };
        Self { tokens: position..position, capacity, heads: (0..spec.kv_heads).map(head).collect() }
    }

    /// A copy with memory for this number of tokens.
    fn copied(&self, capacity: usize, spec: &Heads<'_>) -> Self {
        let units = units::<U>(spec.head_dim);
        let copied = |from: &[U]| {
            let mut copy = Vec::with_capacity(capacity * units);
            copy.extend_from_slice(&from[..self.tokens.len() * units]);
            copy
        };
        let heads = self.heads.iter();
        let heads = heads.map(|head| Head { keys: copied(&head.keys), values: copied(&head.values) });
        Self { tokens: self.tokens.clone(), capacity, heads: heads.collect() }
    }

    /// Writes new tokens after those of the row, to memory that no other row shares.
    fn append(&mut self, keys: &[f32], values: &[f32], spec: &Heads<'_>) {
        let (heads, width) = (spec.kv_heads, spec.head_dim);
        let old = self.tokens.len() * units::<U>(width);
        for (i, head) in Arc::make_mut(&mut self.heads).iter_mut().enumerate() {
            for (new, all) in [(keys, &mut head.keys), (values, &mut head.values)] {
                all.truncate(old);
                for new in new.chunks_exact(width).skip(i).step_by(heads) {
                    all.extend(new.chunks(U::ENTRIES).map(U::pack));
                }
            }
        }
        self.tokens.end += keys.len() / (heads * width);
    }
}

/// The number of units of one head of one token.
fn units<U: Unit>(width: usize) -> usize {
    width.div_ceil(U::ENTRIES)
}

/// Keys and values of consecutive tokens of one head.
pub(super) struct Run<'a, U> {
    /// The places of these tokens among all that are seen, counted from 0.
    pub(super) tokens: Range<usize>,
    pub(super) keys: &'a [U],
    pub(super) values: &'a [U],
}

/// The runs of the pages: see [`Pages::seen`].
pub(super) struct Seen<'a, U> {
    pages: std::slice::Iter<'a, Page<U>>,
    head: usize,
    positions: Range<usize>,
    units: usize,
}

impl<'a, U: Unit> Iterator for Seen<'a, U> {
    type Item = Run<'a, U>;

    #[inline(always)]
    fn next(&mut self) -> Option<Run<'a, U>> {
        let Page { tokens, heads, .. } = self.pages.next()?;
        let (start, end) = (self.positions.start.max(tokens.start), self.positions.end.min(tokens.end));
        if start >= end {
            return None;
        }
        let seen = (start - tokens.start) * self.units..(end - tokens.start) * self.units;
        let Head { keys, values } = &heads[self.head];
        let tokens = start - self.positions.start..end - self.positions.start;
        Some(Run { tokens, keys: &keys[seen.clone()], values: &values[seen] })
    }
}
