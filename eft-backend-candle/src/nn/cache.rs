use candle_core::{Result, Tensor};

/// Room for so many tokens at first.
const ROOM: usize = 64;

/// Keys and values of one layer, for the rows of a batch.
///
/// Each row has tensors of its own, with room for more tokens than it holds: room doubles when it is used up, so
/// that growing costs a constant number of copies a token. How many tokens count is the session's to know; what
/// lies behind is overwritten.
#[derive(Debug)]
pub struct LayerCache {
    rows: Vec<Option<RowCache>>,
}

/// Each of shape (key heads, room, width of a head).
#[derive(Debug)]
struct RowCache {
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows: (0..rows).map(|_| None).collect() }
    }

    /// Writes new tokens, each of shape (key heads, tokens, width of a head), behind the `past` ones of a row.
    /// Returns keys and values of all tokens of the row from `first` on.
    pub(crate) fn append(
        &mut self,
        row: usize,
        past: usize,
        first: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (heads, tokens, width) = keys.dims3()?;
        let needed = past + tokens;
        let slot = &mut self.rows[row];
        let room = slot.as_ref().map_or(Ok(0), |c| c.keys.dim(1))?;
        if room < needed {
            let shape = (heads, needed.max(2 * room).max(ROOM), width);
            let grown = RowCache {
                keys: Tensor::zeros(shape, keys.dtype(), keys.device())?,
                values: Tensor::zeros(shape, keys.dtype(), keys.device())?,
            };
            if let Some(old) = slot.as_ref().filter(|_| past > 0) {
                grown.keys.slice_set(&old.keys.narrow(1, 0, past)?.contiguous()?, 1, 0)?;
                grown.values.slice_set(&old.values.narrow(1, 0, past)?.contiguous()?, 1, 0)?;
            }
            *slot = Some(grown);
        }
        let Some(cache) = slot else { candle_core::bail!("row {row} has no cache") };
        cache.keys.slice_set(keys, 1, past)?;
        cache.values.slice_set(values, 1, past)?;
        let seen = needed - first;
        Ok((cache.keys.narrow(1, first, seen)?, cache.values.narrow(1, first, seen)?))
    }

    /// Makes row `i` what row `rows[i]` was, of which the first `lengths[rows[i]]` tokens count.
    pub(crate) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<()> {
        let copy = |cache: &RowCache, length: usize| -> Result<RowCache> {
            // A clone of a tensor is the same memory, and rows are written in place: a fork needs its own.
            let own = |t: &Tensor| t.narrow(1, 0, length.max(1))?.contiguous()?.copy();
            Ok(RowCache { keys: own(&cache.keys)?, values: own(&cache.values)? })
        };
        let forks: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| match (&self.rows[*row], rows[..i].contains(row)) {
                (Some(cache), true) => copy(cache, lengths[*row]).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        // The first to name a row takes it over.
        self.rows =
            rows.iter().zip(forks).map(|(row, fork)| fork.or_else(|| self.rows[*row].take())).collect();
        Ok(())
    }
}
