use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use eft_models::{CacheMove, CacheRoom, fork};

use eft_cpu::ops::{CacheType, RowCache};

/// The KV cache of one layer, for all rows of a batch.
///
/// The cache does not store how many tokens of a row are valid: each call passes that number, and tokens after it are dropped. A
/// rollback therefore costs nothing. In main memory, rows share what they have in common ([`RowCache`]); in candle tensors, each row has its
/// own memory, for the tokens that [`CacheRoom`] says.
#[derive(Debug)]
pub struct LayerCache(pub(super) Rows);

/// The memory of the rows.
#[derive(Debug)]
pub(super) enum Rows {
    /// In main memory, for the operations of `eft_cpu`.
    Host(Vec<RowCache>),
    /// In candle tensors.
    Device(Vec<TensorCache>),
}

/// The keys and values of one row.
#[derive(Debug, Default)]
pub(super) struct TensorCache {
    room: CacheRoom,
    /// Each of shape (key heads, capacity, head width); `None` as long as there are no tokens.
    memory: Option<[Tensor; 2]>,
    /// The type of the numbers; if `None`, that of the activations.
    dtype: Option<DType>,
}

impl LayerCache {
    /// The cache of `eft_cpu` if `host`, or of tensors of this type.
    pub(super) fn new(rows: usize, kept: Option<usize>, kind: CacheType, host: bool) -> Self {
        Self(match host {
            true => Rows::Host(vec![RowCache::new(kept, kind); rows]),
            false => {
                let dtype = (kind == CacheType::F16).then_some(DType::F16);
                let row = |_| TensorCache { room: CacheRoom::new(kept), memory: None, dtype };
                Rows::Device((0..rows).map(row).collect())
            }
        })
    }

    /// The number of tokens that a row has memory for.
    pub(super) fn capacity(&self, row: usize) -> usize {
        match &self.0 {
            Rows::Host(rows) => rows[row].capacity(),
            Rows::Device(rows) => rows[row].room.capacity(),
        }
    }

    /// Replaces row `i` by a copy of the former row `rows[i]`, of which the first `lengths[rows[i]]` tokens are valid.
    pub(super) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<()> {
        match &mut self.0 {
            Rows::Host(caches) => fork(caches, rows, |cache, _| Ok(cache.clone())),
            Rows::Device(caches) => fork(caches, rows, |cache, row| cache.copy(lengths[row])),
        }
    }

    /// Lets a row share the tokens of another one, in main memory; returns whether it does.
    pub(super) fn take_tokens(&mut self, from: usize, to: usize, tokens: Range<usize>) -> bool {
        match &mut self.0 {
            Rows::Host(caches) => {
                let source = caches[from].clone();
                caches[to].take_tokens(&source, tokens)
            }
            Rows::Device(_) => false,
        }
    }
}

impl TensorCache {
    /// Writes the keys and values of new tokens, each of shape (key heads, tokens, head width), after the first `past`
    /// tokens of a row. Returns the keys and values of the row from token `first` on.
    pub(super) fn append(&mut self, past: usize, first: usize, new: [&Tensor; 2]) -> Result<[Tensor; 2]> {
        let (heads, tokens, width) = new[0].dims3()?;
        let computed = new[0].dtype();
        let dtype = self.dtype.unwrap_or(computed);
        // A room that fails to be made is made again by the next call, since it is stored last.
        let mut room = self.room.clone();
        if let Some(CacheMove { from, tokens, capacity }) = room.make(past, tokens) {
            let grown = |i: usize| {
                let grown = Tensor::zeros((heads, capacity, width), dtype, new[i].device())?;
                if let Some(old) = self.memory.as_ref().filter(|_| tokens > 0) {
                    grown.slice_set(&old[i].narrow(1, from, tokens)?.contiguous()?, 1, 0)?;
                }
                Ok::<_, candle_core::Error>(grown)
            };
            self.memory = Some([grown(0)?, grown(1)?]);
        }
        self.room = room;
        let Some(memory) = &self.memory else {
            candle_core::bail!("internal error: a row of the KV cache was not allocated")
        };
        let (start, count) = (self.room.slot(first), past + tokens - first);
        let seen = |i: usize| {
            memory[i].slice_set(&new[i].to_dtype(dtype)?, 1, self.room.slot(past))?;
            memory[i].narrow(1, start, count)?.to_dtype(computed)
        };
        Ok([seen(0)?, seen(1)?])
    }

    /// Copies the memory of a row: a clone of a candle tensor would share it, and rows are written in place.
    fn copy(&self, length: usize) -> Result<Self> {
        let room = self.room.copy(length);
        let own = |t: &Tensor| t.narrow(1, 0, room.capacity())?.contiguous()?.copy();
        let memory = match &self.memory {
            Some([keys, values]) if room.capacity() > 0 => Some([own(keys)?, own(values)?]),
            _ => None,
        };
        Ok(Self { room, memory, dtype: self.dtype })
    }
}
