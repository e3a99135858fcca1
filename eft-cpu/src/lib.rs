//! Decoding on the CPU: matrix products that read weights in the layout of their file, and the operations between them.
//!
//! Products of a tensor library need a tensor of one type, so weights would have to be converted and copied, and candle's
//! quantised product reads all weights once for each row of activations. Here the weights stay in the memory-mapped
//! file. A tile of them is unpacked once and multiplied with all rows: f16 and bf16 weights are widened to f32; quantised
//! weights are unpacked to 8-bit codes, multiplied with activations that are quantised to 8 bits too, and summed as
//! integers.
//!
//! Everything works on slices of f32, and is compiled for several sets of vector instructions, of which the best that the
//! processor has is used, unless [`Instructions`] says otherwise. A backend keeps its tensors and calls these functions for
//! those in main memory, if [`is_supported`] says so.
//!
//! ```
//! use eft_cpu::{Matrix, products};
//! use eft_models::{Dtype, RawTensor};
//!
//! // Two outputs of three columns.
//! let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 0.0, 1.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
//! let raw = RawTensor { name: "w", shape: vec![2, 3], dtype: Dtype::F32, bytes: bytes.into() };
//! if let Some(matrix) = Matrix::new(&raw) {
//!     assert_eq!(products(&[1.0, 1.0, 1.0], &[&matrix]), [[6.0, 1.0]]);
//! }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activations;
mod blocks;
mod instructions;
mod lanes;
mod level;
mod matrix;
pub mod ops;
mod packed;
mod plain;
mod shared;
mod team;
mod tile;
mod totals;

pub use instructions::{Instructions, is_supported};
pub use matrix::{Matrix, products};
pub use team::pass;
