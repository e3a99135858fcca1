//! [`RowCache`]: the KV cache of one row of a batch.
use std::ops::Range;

use eft_models::{CacheMove, CacheRoom};

use super::stored::{F16, F32, Q8, Unit};
use super::{CacheType, Heads};

/// The keys and values of one row of the batch, each of shape key heads × capacity × head width. See
/// [`attend`](super::attend).
#[derive(Debug, Clone, Default)]
pub struct RowCache {
    pub(super) room: CacheRoom,
    pub(super) memory: Memory,
}

/// The keys and values in one of the types of [`CacheType`].
#[derive(Debug, Clone)]
pub(super) enum Memory {
    F32(Pair<F32>),
    F16(Pair<F16>),
    Q8(Pair<Q8>),
}

impl Default for Memory {
    fn default() -> Self {
        Self::F32(Pair::default())
    }
}

/// Keys and values. Each head of a token takes a whole number of units.
#[derive(Debug, Clone)]
pub(super) struct Pair<U> {
    keys: Vec<U>,
    values: Vec<U>,
}

impl<U> Default for Pair<U> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl RowCache {
    /// An empty cache, which may forget tokens that are further than `kept` before the new ones.
    pub fn new(kept: Option<usize>, kind: CacheType) -> Self {
        let memory = match kind {
            CacheType::F32 => Memory::F32(Pair::default()),
            CacheType::F16 => Memory::F16(Pair::default()),
            CacheType::Q8_0 => Memory::Q8(Pair::default()),
        };
        Self { room: CacheRoom::new(kept), memory }
    }

    /// Returns the number of tokens that there is memory for.
    pub fn capacity(&self) -> usize {
        self.room.capacity()
    }
}

impl<U: Unit> Pair<U> {
    /// The number of units of one head of one token.
    fn units(width: usize) -> usize {
        width.div_ceil(U::ENTRIES)
    }

    /// Writes the keys and values of new tokens (tokens × key heads × head width) after the first `past` tokens. Tokens
    /// that the cache held after those are overwritten.
    pub(super) fn append(
        &mut self,
        room: &mut CacheRoom,
        past: usize,
        keys: &[f32],
        values: &[f32],
        spec: &Heads<'_>,
    ) {
        let (heads, width) = (spec.kv_heads, spec.head_dim);
        let units = Self::units(width);
        if let Some(moved) = room.make(past, keys.len() / (heads * width)) {
            for old in [&mut self.keys, &mut self.values] {
                make_room(old, heads, units, moved);
            }
        }
        let (capacity, first) = (room.capacity(), room.slot(past));
        for (new, all) in [(keys, &mut self.keys), (values, &mut self.values)] {
            for (i, token) in new.chunks_exact(heads * width).enumerate() {
                for (head, new) in token.chunks_exact(width).enumerate() {
                    let start = (head * capacity + first + i) * units;
                    let packed = new.chunks(U::ENTRIES).map(U::pack);
                    all[start..start + units].iter_mut().zip(packed).for_each(|(old, new)| *old = new);
                }
            }
        }
    }

    /// The keys and the values of one head at these positions.
    pub(super) fn seen(
        &self,
        room: &CacheRoom,
        head: usize,
        positions: Range<usize>,
        width: usize,
    ) -> (&[U], &[U]) {
        let start = head * room.capacity();
        let at = |position| (start + room.slot(position)) * Self::units(width);
        let seen = at(positions.start)..at(positions.end);
        (&self.keys[seen.clone()], &self.values[seen])
    }
}

/// Moves the tokens of each head, in place if the memory does not grow.
fn make_room<U: Unit>(memory: &mut Vec<U>, heads: usize, units: usize, moved: CacheMove) {
    let CacheMove { from, tokens, capacity } = moved;
    let old = memory.len() / heads;
    let kept = from * units..(from + tokens) * units;
    if old == capacity * units {
        memory.chunks_mut(old).for_each(|head| head.copy_within(kept.clone(), 0));
        return;
    }
    let mut grown = vec![U::pack(&[]); heads * capacity * units];
    if old > 0 {
        for (grown, old) in grown.chunks_mut(capacity * units).zip(memory.chunks(old)) {
            grown[..kept.len()].copy_from_slice(&old[kept.clone()]);
        }
    }
    *memory = grown;
}
