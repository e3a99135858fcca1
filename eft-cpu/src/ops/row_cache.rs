//! [`RowCache`]: the KV cache of one row of a batch.
use std::ops::Range;

use super::pages::Pages;
use super::stored::{F16, F32, Q8, Unit};
use super::{CacheType, Heads};

/// The keys and values of one row of the batch, as [`attend`](super::attend) writes and reads them.
///
/// They are kept in pages of some tokens each. A clone shares the pages; what is written to it later goes to pages of its own. So rows
/// that begin alike keep their beginning in memory once, and when they are computed together, most of it is read from the processor's caches.
/// How many tokens of the row are valid is not stored: each call passes that number, and what this cache held after them is dropped.
///
/// ```
/// use eft_cpu::ops::{CacheType, RowCache};
///
/// // Tokens that are further than 100 before the new ones may be forgotten.
/// let cache = RowCache::new(Some(100), CacheType::F16);
/// assert_eq!(cache.capacity(), 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RowCache {
    kept: Option<usize>,
    pub(super) memory: Memory,
}

/// The keys and values in one of the types of [`CacheType`].
#[derive(Debug, Clone)]
pub(super) enum Memory {
    F32(Pages<F32>),
    F16(Pages<F16>),
    Q8(Pages<Q8>),
}

impl Default for Memory {
    fn default() -> Self {
        Self::F32(Pages::default())
    }
}

impl RowCache {
    /// An empty cache, which may forget tokens that are further than `kept` before the new ones.
    pub fn new(kept: Option<usize>, kind: CacheType) -> Self {
        let memory = match kind {
            CacheType::F32 => Memory::F32(Pages::default()),
            CacheType::F16 => Memory::F16(Pages::default()),
            CacheType::Q8_0 => Memory::Q8(Pages::default()),
        };
        Self { kept, memory }
    }

    /// Returns the number of tokens that there is memory for, with that which is shared with other caches.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::F32(pages) => pages.capacity(),
            Memory::F16(pages) => pages.capacity(),
            Memory::Q8(pages) => pages.capacity(),
        }
    }

    /// Returns for how many tokens there is memory that this cache and another one share.
    pub fn shared(&self, other: &Self) -> usize {
        match (&self.memory, &other.memory) {
            (Memory::F32(pages), Memory::F32(other)) => pages.shared(other),
            (Memory::F16(pages), Memory::F16(other)) => pages.shared(other),
            (Memory::Q8(pages), Memory::Q8(other)) => pages.shared(other),
            _ => 0,
        }
    }

    /// Writes the keys and values of new tokens after the first `past` ones.
    pub(super) fn append(&mut self, past: usize, keys: &[f32], values: &[f32], spec: &Heads<'_>) {
        match &mut self.memory {
            Memory::F32(pages) => pages.append(self.kept, past, keys, values, spec),
            Memory::F16(pages) => pages.append(self.kept, past, keys, values, spec),
            Memory::Q8(pages) => pages.append(self.kept, past, keys, values, spec),
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

    /// Takes tokens from another cache of the same layer, whose row begins with the same tokens up to their end: shares its pages
    /// instead of those that this one had, and drops what this one held after them. Returns `false`, without a change, if `tokens` is empty, if the two caches keep numbers of
    /// different types, if the other one does not hold these tokens, if this one lacks some of those before them, or if the other one has
    /// forgotten tokens that this one has.
    pub fn take_tokens(&mut self, from: &Self, tokens: Range<usize>) -> bool {
        match (&mut self.memory, &from.memory) {
            (Memory::F32(to), Memory::F32(from)) => to.take(from, tokens),
            (Memory::F16(to), Memory::F16(from)) => to.take(from, tokens),
            (Memory::Q8(to), Memory::Q8(from)) => to.take(from, tokens),
            _ => false,
        }
    }
}
