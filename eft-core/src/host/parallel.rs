//! Work cut into chunks of fixed size, so that no result depends on how many threads share them.
use std::ops::Range;

use rayon::prelude::*;

/// Columns of a chunk: with two or three rows of `f32` it fits the first cache.
pub(super) const CHUNK: usize = 4096;

/// Entries below which waking other threads costs more than it saves.
const WORTH_SHARING: usize = 4 * CHUNK;

/// `f` of every item, in their order. `entries` is how many scores all of them come to.
pub(super) fn map<I: Send, T: Send>(
    items: Vec<I>,
    entries: usize,
    f: impl Fn(I) -> T + Sync + Send,
) -> Vec<T> {
    if items.len() < 2 || entries < WORTH_SHARING {
        return items.into_iter().map(f).collect();
    }
    items.into_par_iter().map(f).collect()
}

/// How many chunks a row has.
pub(super) fn chunks(width: usize) -> usize {
    width.div_ceil(CHUNK)
}

/// `f(row, columns)` of every chunk; the chunks of a row follow one another, [`chunks`] of them.
pub(super) fn map_chunks<T: Send>(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>) -> T + Sync + Send,
) -> Vec<T> {
    let starts = |row| (0..width).step_by(CHUNK).map(move |start| (row, start));
    let items: Vec<_> = (0..rows).flat_map(starts).collect();
    map(items, rows * width, |(row, start)| f(row, start..width.min(start + CHUNK)))
}

/// Like [`map_chunks`], over the chunks of `matrix`, which `f` may change.
pub(super) fn update_chunks<T: Send>(
    matrix: &mut [f32],
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) -> T + Sync + Send,
) -> Vec<T> {
    let entries = matrix.len();
    let mut items = Vec::new();
    for (row, scores) in matrix.chunks_mut(width.max(1)).enumerate() {
        items.extend(scores.chunks_mut(CHUNK).enumerate().map(|(i, chunk)| (row, i * CHUNK, chunk)));
    }
    map(items, entries, |(row, start, chunk)| f(row, start..start + chunk.len(), chunk))
}

/// A new matrix, filled chunk by chunk.
pub(super) fn fill(
    rows: usize,
    width: usize,
    f: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let mut matrix = vec![0.0; rows * width];
    update_chunks(&mut matrix, width, f);
    matrix
}
