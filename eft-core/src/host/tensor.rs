//! [`Host`] and [`HostTensor`]: score rows in main memory, read as `f32` from any type that they are stored in.
use std::borrow::Cow;
use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ndarray::{ArcArray2, Array2};

use crate::backend::ScoreRow;
use crate::{Error, Result};

/// The backend for scores in main memory: plain Rust, in parallel on the threads of rayon's current pool.
///
/// The documentation of [`host`](super) has an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host;

/// A matrix of scores, rows by columns, with a reference count.
///
/// It is made from an [`ndarray`] array: without a copy if the array has the standard (row-major) layout. Operations
/// read it as `f32`, and their results are [`F32`](Self::F32).
///
/// ```
/// use eft_core::host::HostTensor;
/// use eft_core::{Backend, Host};
/// use half::bf16;
/// use ndarray::Array2;
///
/// let scores = Array2::from_elem((2, 3), bf16::from_f32(0.5));
/// assert_eq!(Host.shape(&HostTensor::from(scores)), (2, 3));
/// ```
#[derive(Debug, Clone)]
pub enum HostTensor {
    /// Single precision.
    F32(ArcArray2<f32>),
    /// IEEE half precision (binary16).
    F16(ArcArray2<f16>),
    /// bfloat16: the upper half of single precision.
    BF16(ArcArray2<bf16>),
}

impl HostTensor {
    /// Creates a tensor from consecutive rows of `width` scores.
    pub(super) fn from_rows(scores: Vec<f32>, width: usize) -> Result<Self> {
        let rows = scores.len().checked_div(width).unwrap_or(0);
        let scores = Array2::from_shape_vec((rows, width), scores).map_err(|e| Error::backend("host", e))?;
        Ok(Self::from(scores))
    }

    /// Returns the number of rows and columns.
    pub(super) fn shape(&self) -> (usize, usize) {
        match self {
            Self::F32(scores) => scores.dim(),
            Self::F16(scores) => scores.dim(),
            Self::BF16(scores) => scores.dim(),
        }
    }
}

impl From<ArcArray2<f32>> for HostTensor {
    fn from(scores: ArcArray2<f32>) -> Self {
        Self::F32(row_major(scores))
    }
}

impl From<ArcArray2<f16>> for HostTensor {
    fn from(scores: ArcArray2<f16>) -> Self {
        Self::F16(row_major(scores))
    }
}

impl From<ArcArray2<bf16>> for HostTensor {
    fn from(scores: ArcArray2<bf16>) -> Self {
        Self::BF16(row_major(scores))
    }
}

impl<T: Clone> From<Array2<T>> for HostTensor
where
    HostTensor: From<ArcArray2<T>>,
{
    fn from(scores: Array2<T>) -> Self {
        Self::from(scores.into_shared())
    }
}

fn row_major<T: Clone>(scores: ArcArray2<T>) -> ArcArray2<T> {
    if scores.is_standard_layout() { scores } else { scores.as_standard_layout().into_owned().into_shared() }
}

/// The columns of a score row that an operation reads.
#[derive(Debug)]
pub(super) enum RowView<'a> {
    F32(Cow<'a, [f32]>),
    F16(Cow<'a, [f16]>),
    BF16(Cow<'a, [bf16]>),
}

impl<'a> RowView<'a> {
    /// Returns the first `width` columns of a row. The caller has checked the row with `check_rows`.
    pub(super) fn of(row: &ScoreRow<'a, Host>, width: usize) -> Self {
        match row.tensor {
            HostTensor::F32(scores) => Self::F32(columns(scores, row.index, width)),
            HostTensor::F16(scores) => Self::F16(columns(scores, row.index, width)),
            HostTensor::BF16(scores) => Self::BF16(columns(scores, row.index, width)),
        }
    }

    /// Returns the first `width` columns of each row.
    pub(super) fn of_all(rows: &[ScoreRow<'a, Host>], width: usize) -> Vec<Self> {
        rows.iter().map(|row| Self::of(row, width)).collect()
    }

    /// Returns the columns of `range` as `f32`: borrowed if they are stored so, else converted into `buffer`.
    pub(super) fn read<'s>(&'s self, range: Range<usize>, buffer: &'s mut Vec<f32>) -> &'s [f32] {
        match self {
            Self::F32(scores) => return &scores[range],
            Self::F16(scores) => {
                buffer.resize(range.len(), 0.0);
                scores[range].convert_to_f32_slice(buffer);
            }
            Self::BF16(scores) => {
                buffer.clear();
                buffer.extend(scores[range].iter().map(|x| f32::from_bits(u32::from(x.to_bits()) << 16)));
            }
        }
        buffer
    }

    /// Returns one column as `f32`.
    pub(super) fn at(&self, column: usize) -> f32 {
        match self {
            Self::F32(scores) => scores[column],
            Self::F16(scores) => scores[column].to_f32(),
            Self::BF16(scores) => scores[column].to_f32(),
        }
    }
}

/// Borrows the columns; copies them if a user has put an array of another layout into a variant.
fn columns<T: Clone>(scores: &ArcArray2<T>, row: usize, width: usize) -> Cow<'_, [T]> {
    let row = scores.row(row);
    match row.to_slice() {
        Some(scores) => Cow::Borrowed(&scores[..width]),
        None => Cow::Owned(row.iter().take(width).cloned().collect()),
    }
}
