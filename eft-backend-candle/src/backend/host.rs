//! Copies of rows for the kernels of [`Host`], and its results as tensors.
use candle_core::{CpuStorage, DType, Device, Storage, Tensor, WithDType};
use eft_core::host::HostTensor;
use eft_core::{Backend, Error, Host, Result, ScoreRow, Term};
use ndarray::Array2;

use super::error::to_error;
use super::rows::copy_to;

/// Copies of rows, in the form that the host's kernels read.
pub(super) struct HostRows(Vec<HostTensor>);

impl HostRows {
    pub(super) fn new<B: Backend<Tensor = Tensor>>(rows: &[ScoreRow<'_, B>], width: usize) -> Result<Self> {
        rows.iter().map(|row| copy(row, width)).collect::<Result<_>>().map(Self)
    }

    /// The rows of all terms, one term after another.
    pub(super) fn of_terms<B: Backend<Tensor = Tensor>>(terms: &[Term<'_, B>], width: usize) -> Result<Self> {
        terms.iter().flat_map(|term| &term.rows).map(|row| copy(row, width)).collect::<Result<_>>().map(Self)
    }

    pub(super) fn rows(&self) -> Vec<ScoreRow<'_, Host>> {
        self.0.iter().map(|tensor| ScoreRow::new(tensor, 0)).collect()
    }
}

/// The terms, with the copies of their rows that [`HostRows::of_terms`] made.
pub(super) fn host_terms<'a, B: Backend<Tensor = Tensor>>(
    terms: &[Term<'_, B>],
    rows: &'a HostRows,
) -> Vec<Term<'a, Host>> {
    let mut rows = rows.rows().into_iter();
    let mut taken = |term: &Term<'_, B>| rows.by_ref().take(term.rows.len()).collect();
    terms.iter().map(|term| Term { weight: term.weight, rows: taken(term) }).collect()
}

/// A copy of a row in its own type if the host can compute with that, else in `f32`.
fn copy<B: Backend<Tensor = Tensor>>(row: &ScoreRow<'_, B>, width: usize) -> Result<HostTensor> {
    let view = row.tensor.narrow(0, row.index, 1).and_then(|row| row.narrow(1, 0, width));
    let view = view.and_then(|row| copy_to(&row, &Device::Cpu)?.contiguous()).map_err(to_error)?;
    let (storage, layout) = view.storage_and_layout();
    if let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
        match storage {
            CpuStorage::F32(scores) => return array(&scores[start..end]).map(HostTensor::from),
            CpuStorage::F16(scores) => return array(&scores[start..end]).map(HostTensor::from),
            CpuStorage::BF16(scores) => return array(&scores[start..end]).map(HostTensor::from),
            _ => {}
        }
    }
    drop(storage);
    let scores: Vec<f32> =
        view.to_dtype(DType::F32).and_then(|row| row.flatten_all()?.to_vec1()).map_err(to_error)?;
    array(&scores).map(HostTensor::from)
}

fn array<T: WithDType>(scores: &[T]) -> Result<Array2<T>> {
    Array2::from_shape_vec((1, scores.len()), scores.to_vec()).map_err(|e| Error::backend("candle", e))
}

/// A result of the host as a tensor. It is `f32` and has no other owner, so nothing is copied.
pub(super) fn from_host(tensor: HostTensor) -> Result<Tensor> {
    let HostTensor::F32(scores) = tensor else {
        return Err(Error::shape("a result of the host", "f32", "another type"));
    };
    let shape = scores.dim();
    let (scores, _) = scores.into_owned().into_raw_vec_and_offset();
    Tensor::from_vec(scores, shape, &Device::Cpu).map_err(to_error)
}
