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
    /// The number of key heads; 0 as long as there are no tokens.
    heads: usize,
    keys: Vec<U>,
    values: Vec<U>,
}

impl<U> Default for Pair<U> {
    fn default() -> Self {
        Self { heads: 0, keys: Vec::new(), values: Vec::new() }
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

    /// Writes the keys and values of new tokens after the first `past` ones.
    pub(super) fn append(&mut self, past: usize, keys: &[f32], values: &[f32], spec: &Heads<'_>) {
        let Self { room, memory } = self;
        match memory {
            Memory::F32(memory) => memory.append(room, past, keys, values, spec),
            Memory::F16(memory) => memory.append(room, past, keys, values, spec),
            Memory::Q8(memory) => memory.append(room, past, keys, values, spec),
        }
    }

    /// Keys and values are as wide as a multiple of this number of entries.
    pub(super) fn entries(&self) -> usize {
        match self.memory {
            Memory::F32(_) => F32::ENTRIES,
            Memory::F16(_) => F16::ENTRIES,
            Memory::Q8(_) => Q8::ENTRIES,
        }
    }

    /// Copies tokens of another cache of the same layer to the same places of this one, which holds those before them. Returns
    /// `false`, without a change, if there are none, if the two caches keep numbers of different types, if the other one does
    /// not hold these tokens, or if this one has forgotten those before them.
    pub fn copy_tokens(&mut self, from: &Self, tokens: Range<usize>) -> bool {
        let known = tokens.start == 0 || self.room.first() <= tokens.start;
        let held = from.room.first() <= tokens.start && tokens.end <= from.room.first() + from.capacity();
        let held = held && known && !tokens.is_empty();
        match (&mut self.memory, &from.memory) {
            (Memory::F32(to), Memory::F32(memory)) if held => {
                to.copy_tokens(&mut self.room, memory, &from.room, tokens);
            }
            (Memory::F16(to), Memory::F16(memory)) if held => {
                to.copy_tokens(&mut self.room, memory, &from.room, tokens);
            }
            (Memory::Q8(to), Memory::Q8(memory)) if held => {
                to.copy_tokens(&mut self.room, memory, &from.room, tokens);
            }
            _ => return false,
        }
        true
    }
}

impl<U: Unit> Pair<U> {
    /// Makes room for new tokens after the first `past` ones.
    fn make_room(&mut self, room: &mut CacheRoom, past: usize, tokens: usize, units: usize) {
        if let Some(moved) = room.make(past, tokens) {
            for memory in [&mut self.keys, &mut self.values] {
                make_room(memory, self.heads, units, moved);
            }
        }
    }

    /// Copies tokens of another cache to the same places of this one.
    fn copy_tokens(&mut self, room: &mut CacheRoom, from: &Self, of_from: &CacheRoom, tokens: Range<usize>) {
        // Units of one head of one token.
        let units = from.keys.len() / (from.heads * of_from.capacity()).max(1);
        self.heads = from.heads;
        self.make_room(room, tokens.start, tokens.len(), units);
        for (to, from) in [(&mut self.keys, &from.keys), (&mut self.values, &from.values)] {
            for head in 0..self.heads {
                let at = |room: &CacheRoom| (head * room.capacity() + room.slot(tokens.start)) * units;
                let (old, new) = (at(of_from), at(room));
                let count = tokens.len() * units;
                to[new..new + count].copy_from_slice(&from[old..old + count]);
            }
        }
    }

    /// The number of units of one head of one token.
    fn units(width: usize) -> usize {
        width.div_ceil(U::ENTRIES)
    }

    /// Writes the keys and values of new tokens (tokens × key heads × head width) after the first `past` tokens. Tokens
    /// that the cache held after those are overwritten.
    fn append(&mut self, room: &mut CacheRoom, past: usize, keys: &[f32], values: &[f32], spec: &Heads<'_>) {
        let (heads, width) = (spec.kv_heads, spec.head_dim);
        let units = Self::units(width);
        self.heads = heads;
        self.make_room(room, past, keys.len() / (heads * width), units);
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
