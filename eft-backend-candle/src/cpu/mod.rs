//! Decoding on the processor: products over weights as their files hold them, and the operations between.
//!
//! Candle's own products want a tensor of one type, so weights would have to be copied, and their quantised form costs
//! as many passes over the weights as there are rows. Here weights stay where they are, mapped from their file. A tile
//! of them is unpacked once for all rows that it is multiplied with: quantised ones to bytes, whose products with
//! activations rounded to bytes are summed as integers; f16 and bf16 to f32.
mod activations;
mod blocks;
mod level;
mod matrix;
pub(crate) mod ops;
mod packed;
mod plain;

pub(crate) use matrix::{Matrix, products};

/// How much more has to be shared by a thread that is none of rayon's: it hands over and waits, asleep, instead of
/// working along.
const OUTSIDE: usize = 32;

/// Whether other threads are woken for work of this size, if it is worth waking them from `worth` on.
fn is_shared(work: usize, worth: usize) -> bool {
    let worth = if rayon::current_thread_index().is_some() { worth } else { OUTSIDE * worth };
    work >= worth && rayon::current_num_threads() > 1
}

#[cfg(test)]
mod tests;
