//! Parallel loops over chunks of fixed size, so that no result depends on the number of threads.
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of columns in a chunk: chunks of two or three rows of `f32` fit into the first-level cache.
pub(super) const CHUNK: usize = 4096;

/// The number of entries for which it pays to wake one more thread.
const WORTH_WAKING: usize = 32 * CHUNK;

type Queue<I> = std::iter::Enumerate<std::vec::IntoIter<I>>;

/// Returns `f` of every item, in order. `entries` is the number of scores in all items together.
///
/// The calling thread starts at once and takes items from the front, while threads of the pool take them from the back
/// as they wake up. So the next operation finds about the same part of its rows in the same core's cache.
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

/// Groups the items of all chunks by row.
pub(super) fn by_row<T>(chunks: &[T], width: usize) -> std::slice::Chunks<'_, T> {
    chunks.chunks(width.div_ceil(CHUNK).max(1))
}

/// Returns `f(row, columns)` of every chunk. The chunks of a row are consecutive.
pub(super) fn map_chunks<T: Send>(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>) -> T + Sync,
) -> Vec<T> {
    let starts = |row| (0..width).step_by(CHUNK).map(move |start| (row, start));
    let items: Vec<_> = (0..rows).flat_map(starts).collect();
    map(items, rows * width, |(row, start)| f(row, start..width.min(start + CHUNK)))
}

/// The same as [`map_chunks`] over the chunks of `matrix`, which `f` may change.
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

/// Returns a new matrix, whose chunks are filled by `f`, and what `f` returned for each chunk.
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
            // Each chunk is zeroed just before it is filled, while it is in the cache.
            matrix.resize(filled + columns.len(), 0.0);
            results.push(f(row, columns, &mut matrix[filled..]));
        }
    }
    (matrix, results)
}

/// The same as [`create`] for an `f` that returns nothing.
pub(super) fn fill(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    create(rows, width, f).0
}
