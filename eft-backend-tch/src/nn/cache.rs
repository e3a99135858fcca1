//! The KV cache.
use eft_models::{CacheMove, CacheRoom, fork};
use tch::{TchError, Tensor};

/// The keys and values of one layer, for the rows of a batch.
///
/// Each row has its own memory, for the tokens that [`CacheRoom`] says. The cache does not know how many tokens of a row are
/// valid: the session passes that with each call, and tokens past it are overwritten.
#[derive(Debug)]
pub struct LayerCache {
    rows: Vec<RowCache>,
}

/// The keys and the values of one row.
#[derive(Debug, Default)]
pub(super) struct RowCache {
    room: CacheRoom,
    /// Each of shape (key heads, capacity, head width); `None` as long as there are no tokens.
    memory: Option<[Tensor; 2]>,
}

impl LayerCache {
    pub(super) fn new(rows: usize, kept: Option<usize>) -> Self {
        Self { rows: (0..rows).map(|_| RowCache { room: CacheRoom::new(kept), memory: None }).collect() }
    }

    pub(super) fn row(&mut self, row: usize) -> &mut RowCache {
        &mut self.rows[row]
    }

    /// The number of tokens that a row has memory for.
    pub(super) fn capacity(&self, row: usize) -> usize {
        self.rows[row].room.capacity()
    }

    /// Replaces row `i` by the first `lengths[rows[i]]` tokens of the former row `rows[i]`.
    pub(super) fn select(&mut self, rows: &[usize], lengths: &[usize]) -> Result<(), TchError> {
        fork(&mut self.rows, rows, |cache, row| cache.copy(lengths[row]))
    }
}

impl RowCache {
    /// Writes keys and values, (key heads, tokens, head width) each, after the first `past` tokens of a row, and
    /// returns those of all tokens from `first` on.
    pub(super) fn append(
        &mut self,
        past: usize,
        first: usize,
        new: [&Tensor; 2],
    ) -> Result<[Tensor; 2], TchError> {
        let (heads, count, width) = new[0].size3()?;
        // A room that fails to be made is made again by the next call, since it is stored last.
        let mut room = self.room.clone();
        if let Some(CacheMove { from, tokens, capacity }) = room.make(past, count as usize) {
            let (from, tokens) = (from as i64, tokens as i64);
            let grown = |i: usize| {
                let shape = [heads, capacity as i64, width];
                let grown = Tensor::f_empty(shape, (new[i].f_kind()?, new[i].device()))?;
                if let Some(old) = self.memory.as_ref().filter(|_| tokens > 0) {
                    grown.f_narrow(1, 0, tokens)?.f_copy_(&old[i].f_narrow(1, from, tokens)?)?;
                }
                Ok::<_, TchError>(grown)
            };
            self.memory = Some([grown(0)?, grown(1)?]);
        }
        self.room = room;
        let Some(memory) = &self.memory else {
            return Err(TchError::Shape("the row has no cache".into()));
        };
        let (at, start) = (self.room.slot(past) as i64, self.room.slot(first) as i64);
        let seen = |i: usize| {
            memory[i].f_narrow(1, at, count)?.f_copy_(new[i])?;
            memory[i].f_narrow(1, start, at + count - start)
        };
        Ok([seen(0)?, seen(1)?])
    }

    /// A deep copy. Rows are written in place, and a shallow clone would share their memory.
    fn copy(&self, length: usize) -> Result<Self, TchError> {
        let room = self.room.copy(length);
        let count = room.capacity() as i64;
        let own = |tensor: &Tensor| tensor.f_narrow(1, 0, count)?.f_detach_copy()?.f_contiguous();
        let memory = match &self.memory {
            Some([keys, values]) if count > 0 => Some([own(keys)?, own(values)?]),
            _ => None,
        };
        Ok(Self { room, memory })
    }
}
