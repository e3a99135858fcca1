//! The KV cache.
use eft_models::fork;
use tch::{TchError, Tensor};

/// The initial capacity of a row, in tokens.
const CAPACITY: i64 = 64;

/// The keys and values of one layer, for the rows of a batch.
///
/// Each row has its own memory. Its capacity doubles when it is used up, so that each token is copied a constant number
/// of times on average. The cache does not know its length: the session passes it with each call, and tokens past it
/// are overwritten.
#[derive(Debug)]
pub struct LayerCache {
    rows: Vec<Option<RowCache>>,
}

/// The keys and the values of one row, each of shape (key heads, capacity, head width).
#[derive(Debug)]
pub(super) struct RowCache {
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows: (0..rows).map(|_| None).collect() }
    }

    pub(super) fn row(&mut self, row: usize) -> &mut Option<RowCache> {
        &mut self.rows[row]
    }

    /// Replaces row `i` by the first `lengths[rows[i]]` tokens of the former row `rows[i]`.
    pub(super) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<(), TchError> {
        fork(&mut self.rows, rows, |cache, row| {
            cache.as_ref().map(|cache| cache.copy(lengths[row] as i64)).transpose()
        })
    }
}

impl RowCache {
    /// Writes keys and values, (key heads, tokens, head width) each, after the first `past` tokens of a row, and
    /// returns those of all tokens from `first` on.
    pub(super) fn append(
        slot: &mut Option<Self>,
        past: i64,
        first: i64,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor), TchError> {
        let (heads, tokens, width) = keys.size3()?;
        let needed = past + tokens;
        let capacity = slot.as_ref().map_or(0, |cache| cache.keys.size()[1]);
        if capacity < needed {
            let shape = [heads, needed.max(2 * capacity).max(CAPACITY), width];
            let grown = |old: Option<&Tensor>| {
                let grown = Tensor::f_empty(shape, (keys.f_kind()?, keys.device()))?;
                if let Some(old) = old.filter(|_| past > 0) {
                    grown.f_narrow(1, 0, past)?.f_copy_(&old.f_narrow(1, 0, past)?)?;
                }
                Ok::<_, TchError>(grown)
            };
            let old = slot.as_ref();
            let grown = Self { keys: grown(old.map(|c| &c.keys))?, values: grown(old.map(|c| &c.values))? };
            *slot = Some(grown);
        }
        let Some(cache) = slot else { return Err(TchError::Shape("the row has no cache".into())) };
        cache.keys.f_narrow(1, past, tokens)?.f_copy_(keys)?;
        cache.values.f_narrow(1, past, tokens)?.f_copy_(values)?;
        let count = needed - first;
        Ok((cache.keys.f_narrow(1, first, count)?, cache.values.f_narrow(1, first, count)?))
    }

    /// A deep copy. Rows are written in place, and a shallow clone would share their memory.
    fn copy(&self, length: i64) -> Result<Self, TchError> {
        let own = |tensor: &Tensor| tensor.f_narrow(1, 0, length)?.f_detach_copy()?.f_contiguous();
        Ok(Self { keys: own(&self.keys)?, values: own(&self.values)? })
    }
}
