use candle_core::{Result, Tensor};
use eft_models::fork;

use eft_cpu::ops::RowCache;

/// The number of tokens that a new cache has room for.
const INITIAL_CAPACITY: usize = 64;

/// The KV cache of one layer, for all rows of a batch.
///
/// Each row has its own memory. Its capacity doubles when it is used up, so that growing copies each token a constant
/// number of times on average. The cache does not store how many tokens of a row are valid: each call passes that
/// number, and tokens after it are overwritten. A rollback therefore costs nothing.
#[derive(Debug)]
pub struct LayerCache(pub(super) Rows);

/// The memory of the rows.
#[derive(Debug)]
pub(super) enum Rows {
    /// In main memory, for the operations of `eft_cpu`.
    Host(Vec<RowCache>),
    /// In candle tensors.
    Device(Vec<Option<TensorCache>>),
}

/// The keys and values of one row, each of shape (key heads, capacity, head width).
#[derive(Debug)]
pub(super) struct TensorCache {
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    pub(super) fn new(rows: usize, host: bool) -> Self {
        Self(match host {
            true => Rows::Host(vec![RowCache::default(); rows]),
            false => Rows::Device((0..rows).map(|_| None).collect()),
        })
    }

    /// Replaces row `i` by a copy of the former row `rows[i]`, of which the first `lengths[rows[i]]` tokens are valid.
    pub(super) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<()> {
        match &mut self.0 {
            Rows::Host(caches) => fork(caches, rows, |cache, _| Ok(cache.clone())),
            Rows::Device(caches) => fork(caches, rows, |cache, row| {
                cache.as_ref().map(|cache| cache.copy(lengths[row])).transpose()
            }),
        }
    }
}

impl TensorCache {
    /// Writes the keys and values of new tokens, each of shape (key heads, tokens, head width), after the first `past`
    /// tokens of a row. Returns the keys and values of the row from token `first` on.
    pub(super) fn append(
        slot: &mut Option<Self>,
        past: usize,
        first: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (heads, tokens, width) = keys.dims3()?;
        let needed = past + tokens;
        let capacity = slot.as_ref().map_or(Ok(0), |c| c.keys.dim(1))?;
        if capacity < needed {
            let shape = (heads, needed.max(2 * capacity).max(INITIAL_CAPACITY), width);
            let grown = Self {
                keys: Tensor::zeros(shape, keys.dtype(), keys.device())?,
                values: Tensor::zeros(shape, keys.dtype(), keys.device())?,
            };
            if let Some(old) = slot.as_ref().filter(|_| past > 0) {
                grown.keys.slice_set(&old.keys.narrow(1, 0, past)?.contiguous()?, 1, 0)?;
                grown.values.slice_set(&old.values.narrow(1, 0, past)?.contiguous()?, 1, 0)?;
            }
            *slot = Some(grown);
        }
        let Some(cache) = slot else {
            candle_core::bail!("internal error: a row of the KV cache was not allocated")
        };
        cache.keys.slice_set(keys, 1, past)?;
        cache.values.slice_set(values, 1, past)?;
        let seen = needed - first;
        Ok((cache.keys.narrow(1, first, seen)?, cache.values.narrow(1, first, seen)?))
    }

    /// Copies the memory of a row: a clone of a candle tensor would share it, and rows are written in place.
    fn copy(&self, length: usize) -> Result<Self> {
        let own = |t: &Tensor| t.narrow(1, 0, length.max(1))?.contiguous()?.copy();
        Ok(Self { keys: own(&self.keys)?, values: own(&self.values)? })
    }
}
