//! [`Ort`]: scores as values of an execution provider, worked on by small graphs that run on it.
//!
//! Each operation is a graph of a few ONNX operators, written down at run time by the model editor and kept for its
//! width and the layout of its rows. Rows and results are bound as the values they are: they stay where the
//! execution provider keeps its tensors, and the logits of a model are combined where the model left them.
//!
//! **Only the processor's provider has been run.** The graphs keep to operators of opset 18 for which CUDA's
//! provider has kernels, without sorting or summing up whole rows in order where a part of them will do.
//!
//! # What crosses
//! To the device: uniforms, token ids, indices of rows, masks, weights and settings. To the host: picks and what was
//! asked for, and of a filter without top-k, a flag for each row that says whether it is settled.
mod edit;
mod filter;
pub(crate) mod graph;
mod linear;
mod mass;
pub(crate) mod net;
mod operation;
mod ort;
mod pick;
mod pool;
mod residual;
mod rows;
pub(crate) mod runner;
mod tensor;

use std::fmt::Debug;

use ::ort::value::{DynValue, PrimitiveTensorElementType, Tensor as Typed};
use eft_core::{Error, Result};

pub use self::ort::Ort;
pub use self::tensor::Tensor;

/// An error of ONNX Runtime as one of the algebra.
pub fn to_error(error: ::ort::Error) -> Error {
    Error::backend("ort", error)
}

/// A value in main memory.
pub(crate) fn value<T, const N: usize>(shape: [usize; N], data: Vec<T>) -> Result<DynValue>
where
    T: PrimitiveTensorElementType + Debug + Clone + 'static,
{
    Typed::from_array((shape, data)).map(Typed::into_dyn).map_err(to_error)
}

/// Integers in main memory.
pub(crate) fn integers<const N: usize>(shape: [usize; N], data: Vec<i64>) -> Result<DynValue> {
    value(shape, data)
}

/// No rows.
fn empty(width: usize) -> Result<Tensor> {
    Tensor::new(value([0, width], Vec::<f32>::new())?)
}

/// The numbers of the only output, in main memory.
fn numbers(values: &[DynValue]) -> Result<Vec<f32>> {
    let numbers = values.iter().map(|value| Ok(value.try_extract_tensor::<f32>().map_err(to_error)?.1));
    Ok(numbers.collect::<Result<Vec<_>>>()?.concat())
}
