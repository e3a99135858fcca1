//! Work cut into chunks of fixed size, so that no result depends on how many threads share them.
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Columns of a chunk: with two or three rows of `f32` it fits the first cache.
pub(super) const CHUNK: usize = 4096;

/// Entries that one more thread should find to do, or waking it costs more than it saves.
const WORTH_WAKING: usize = 32 * CHUNK;

type Queue<I> = std::iter::Enumerate<std::vec::IntoIter<I>>;

/// `f` of every item, in their order. `entries` is how many scores all of them come to.
///
/// The calling thread takes items from the start at once, and threads of the pool join it from the end as they wake
/// up. So the next operation finds about the same part of its rows in the same core's cache.
pub(super) fn map<I: Send, T: Send>(items: Vec<I>, entries: usize, f: impl Fn(I) -> T + Sync) -> Vec<T> {
    let threads = threads_for(entries).min(items.len());
    if threads < 2 {
        return items.into_iter().map(f).collect();
    }
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let queue = Mutex::new(items.into_iter().enumerate());
    let take_all = |take: fn(&mut Queue<I>) -> Option<(usize, I)>| {
        loop {
            let next = take(&mut lock(&queue));
            let Some((index, item)) = next else { return };
            let result = f(item);
            lock(&done).push((index, result));
        }
    };
    rayon::in_place_scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| take_all(Queue::next_back)));
        take_all(Queue::next);
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn threads_for(entries: usize) -> usize {
    (entries / WORTH_WAKING).min(rayon::current_num_threads())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The chunks of each row, of something that has one for each chunk.
pub(super) fn by_row<T>(chunks: &[T], width: usize) -> std::slice::Chunks<'_, T> {
    chunks.chunks(width.div_ceil(CHUNK).max(1))
}

/// `f(row, columns)` of every chunk, the chunks of a row one after another.
pub(super) fn map_chunks<T: Send>(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>) -> T + Sync,
) -> Vec<T> {
    let starts = |row| (0..width).step_by(CHUNK).map(move |start| (row, start));
    let items: Vec<_> = (0..rows).flat_map(starts).collect();
    map(items, rows * width, |(row, start)| f(row, start..width.min(start + CHUNK)))
}

/// Like [`map_chunks`], over the chunks of `matrix`, which `f` may change.
pub(super) fn update_chunks<T: Send>(
    matrix: &mut [f32],
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let entries = matrix.len();
    let mut items = Vec::new();
    for (row, scores) in matrix.chunks_mut(width.max(1)).enumerate() {
        items.extend(scores.chunks_mut(CHUNK).enumerate().map(|(i, chunk)| (row, i * CHUNK, chunk)));
    }
    map(items, entries, |(row, start, chunk)| f(row, start..start + chunk.len(), chunk))
}

/// A new matrix, each chunk of which `f` fills, and what `f` returns of them.
pub(super) fn create<T: Send>(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) -> T + Sync,
) -> (Vec<f32>, Vec<T>) {
    if threads_for(rows * width) > 1 {
        let mut matrix = vec![0.0; rows * width];
        let results = update_chunks(&mut matrix, width, f);
        return (matrix, results);
    }
    let mut matrix = Vec::with_capacity(rows * width);
    let mut results = Vec::new();
    for row in 0..rows {
        for start in (0..width).step_by(CHUNK) {
            let (filled, columns) = (matrix.len(), start..width.min(start + CHUNK));
            // Zeroed just before it is written, so that it goes through the cache once.
            matrix.resize(filled + columns.len(), 0.0);
            results.push(f(row, columns, &mut matrix[filled..]));
        }
    }
    (matrix, results)
}

/// [`create`] where there is nothing to return.
pub(super) fn fill(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    create(rows, width, f).0
}
