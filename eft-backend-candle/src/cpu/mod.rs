//! Decoding on the CPU: matrix products that read weights in the layout of their file, and the operations between them.
//!
//! Candle's own products need a tensor of one type, so weights would have to be converted and copied, and its quantised
//! product reads all weights once for each row of activations. Here the weights stay in the memory-mapped file. A tile
//! of them is unpacked once and multiplied with all rows: f16 and bf16 weights are widened to f32; quantised weights
//! are unpacked to 8-bit codes, multiplied with activations that are quantised to 8 bits too, and summed as integers.
mod activations;
mod blocks;
mod few;
mod level;
mod many;
mod matrix;
pub(crate) mod ops;
mod packed;
mod plain;
mod tiles;

pub(crate) use matrix::{Matrix, products};

/// How much larger the work must be to be split by a thread outside rayon's pool. Such a thread does not share the
/// work: it hands it to the pool and sleeps until it is done, which costs more than waking a worker from inside.
const OUTSIDE_POOL: usize = 32;

/// Whether work of this size is split over the threads of rayon's pool. `threshold` is the size from which that pays on
/// a thread of the pool.
fn runs_in_parallel(work: usize, threshold: usize) -> bool {
    let threshold =
        if rayon::current_thread_index().is_some() { threshold } else { OUTSIDE_POOL * threshold };
    work >= threshold && rayon::current_num_threads() > 1
}

#[cfg(test)]
mod tests;
