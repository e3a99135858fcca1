use candle_core::{Result, Tensor};
use eft_models::fork;

use crate::cpu::ops::RowCache;

/// Room for so many tokens at first.
const ROOM: usize = 64;

/// Keys and values of one layer, for the rows of a batch.
///
/// Each row has memory of its own, with room for more tokens than it holds: room doubles when it is used up, so
/// that growing costs a constant number of copies a token. How many tokens count is the session's to know; what
/// lies behind is overwritten.
#[derive(Debug)]
pub struct LayerCache(pub(super) Rows);

/// Where the rows lie.
#[derive(Debug)]
pub(super) enum Rows {
    /// In main memory, for the processor.
    Host(Vec<RowCache>),
    /// In tensors.
    Device(Vec<Option<TensorCache>>),
}

/// Each of shape (key heads, room, width of a head).
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

    /// Makes row `i` what row `rows[i]` was, of which the first `lengths[rows[i]]` tokens count.
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
    /// Writes new tokens, each of shape (key heads, tokens, width of a head), behind the `past` ones of a row.
    /// Returns keys and values of all tokens of the row from `first` on.
    pub(super) fn append(
        slot: &mut Option<Self>,
        past: usize,
        first: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (heads, tokens, width) = keys.dims3()?;
        let needed = past + tokens;
        let room = slot.as_ref().map_or(Ok(0), |c| c.keys.dim(1))?;
        if room < needed {
            let shape = (heads, needed.max(2 * room).max(ROOM), width);
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
        let Some(cache) = slot else { candle_core::bail!("a row has no cache") };
        cache.keys.slice_set(keys, 1, past)?;
        cache.values.slice_set(values, 1, past)?;
        let seen = needed - first;
        Ok((cache.keys.narrow(1, first, seen)?, cache.values.narrow(1, first, seen)?))
    }

    /// A clone of a tensor is the same memory, and rows are written in place: a fork needs its own.
    fn copy(&self, length: usize) -> Result<Self> {
        let own = |t: &Tensor| t.narrow(1, 0, length.max(1))?.contiguous()?.copy();
        Ok(Self { keys: own(&self.keys)?, values: own(&self.values)? })
    }
}
