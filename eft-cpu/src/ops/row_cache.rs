//! [`RowCache`]: the KV cache of one row of a batch.
use std::ops::Range;

use eft_models::{CacheMove, CacheRoom};

use super::Heads;

/// The keys and values of one row of the batch, each of shape key heads × capacity × head width. See
/// [`attend`](super::attend).
#[derive(Debug, Clone, Default)]
pub struct RowCache {
    room: CacheRoom,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl RowCache {
    /// An empty cache, which may forget tokens that are further than `kept` before the new ones.
    pub fn new(kept: Option<usize>) -> Self {
        Self { room: CacheRoom::new(kept), ..Self::default() }
    }

    /// Returns the number of tokens that there is memory for.
    pub fn capacity(&self) -> usize {
        self.room.capacity()
    }

    /// Writes the keys and values of new tokens (tokens × key heads × head width) after the first `past` tokens. Tokens
    /// that the cache held after those are overwritten.
    pub(super) fn append(&mut self, past: usize, keys: &[f32], values: &[f32], spec: &Heads<'_>) {
        let (heads, width) = (spec.kv_heads, spec.head_dim);
        if let Some(moved) = self.room.make(past, keys.len() / (heads * width)) {
            for old in [&mut self.keys, &mut self.values] {
                make_room(old, heads, width, moved);
            }
        }
        let (capacity, first) = (self.room.capacity(), self.room.slot(past));
        for (new, all) in [(keys, &mut self.keys), (values, &mut self.values)] {
            for (i, token) in new.chunks_exact(heads * width).enumerate() {
                for (head, new) in token.chunks_exact(width).enumerate() {
                    let start = (head * capacity + first + i) * width;
                    all[start..start + width].copy_from_slice(new);
                }
            }
        }
    }

    /// The keys and the values of one head at these positions.
    pub(super) fn seen(&self, head: usize, positions: Range<usize>, width: usize) -> (&[f32], &[f32]) {
        let start = head * self.room.capacity();
        let at = |position| (start + self.room.slot(position)) * width;
        let seen = at(positions.start)..at(positions.end);
        (&self.keys[seen.clone()], &self.values[seen])
    }
}

/// Moves the tokens of each head, in place if the memory does not grow.
fn make_room(memory: &mut Vec<f32>, heads: usize, width: usize, moved: CacheMove) {
    let CacheMove { from, tokens, capacity } = moved;
    let old = memory.len() / heads;
    let kept = from * width..(from + tokens) * width;
    if old == capacity * width {
        memory.chunks_mut(old).for_each(|head| head.copy_within(kept.clone(), 0));
        return;
    }
    let mut grown = vec![0.0; heads * capacity * width];
    if old > 0 {
        for (grown, old) in grown.chunks_mut(capacity * width).zip(memory.chunks(old)) {
            grown[..kept.len()].copy_from_slice(&old[kept.clone()]);
        }
    }
    *memory = grown;
}
