use eft_models::fork;
use tch::{TchError, Tensor};

/// Room for so many tokens at first.
const ROOM: i64 = 64;

/// Keys and values of one layer, for the rows of a batch.
///
/// Each row has memory of its own, with room for more tokens than it holds: room doubles when it is used up, so
/// that growing costs a constant number of copies a token. How many tokens count is the session's to know; what
/// lies behind is overwritten.
#[derive(Debug)]
pub struct LayerCache {
    rows: Vec<Option<RowCache>>,
}

/// Each of shape (key heads, room, width of a head).
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

    /// Makes row `i` what row `rows[i]` was, of which the first `lengths[rows[i]]` tokens count.
    pub(super) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<(), TchError> {
        fork(&mut self.rows, rows, |cache, row| {
            cache.as_ref().map(|cache| cache.copy(lengths[row] as i64)).transpose()
        })
    }
}

impl RowCache {
    /// Writes new tokens, each of shape (key heads, tokens, width of a head), behind the `past` ones of a row.
    /// Returns keys and values of all tokens of the row from `first` on.
    pub(super) fn append(
        slot: &mut Option<Self>,
        past: i64,
        first: i64,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor), TchError> {
        let (heads, tokens, width) = keys.size3()?;
        let needed = past + tokens;
        let room = slot.as_ref().map_or(0, |cache| cache.keys.size()[1]);
        if room < needed {
            let shape = [heads, needed.max(2 * room).max(ROOM), width];
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
        let Some(cache) = slot else { return Err(TchError::Shape("a row has no cache".into())) };
        cache.keys.f_narrow(1, past, tokens)?.f_copy_(keys)?;
        cache.values.f_narrow(1, past, tokens)?.f_copy_(values)?;
        let seen = needed - first;
        Ok((cache.keys.f_narrow(1, first, seen)?, cache.values.f_narrow(1, first, seen)?))
    }

    /// A clone of a tensor is the same memory, and rows are written in place: a fork needs its own.
    fn copy(&self, length: i64) -> Result<Self, TchError> {
        let own = |tensor: &Tensor| tensor.f_narrow(1, 0, length)?.f_detach_copy()?.f_contiguous();
        Ok(Self { keys: own(&self.keys)?, values: own(&self.values)? })
    }
}
