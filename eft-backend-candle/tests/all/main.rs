//! All tests of this crate in one program: linking candle takes longer than running most of them.
mod adapters;
mod batches;
mod conformance;
mod device;
mod gguf;
mod goldens;
mod operations;
mod threads;
mod weight_types;
