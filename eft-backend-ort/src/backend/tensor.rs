//! [`Tensor`]: rows of scores, as a value of the execution provider.
use std::fmt;
use std::sync::Arc;

use eft_core::Error;
use ort::value::{DynValue, TensorElementType, ValueType};

/// A matrix of scores: its rows are all but the last dimension of a value. Cheap to clone.
#[derive(Clone)]
pub struct Tensor {
    value: Arc<DynValue>,
    element: TensorElementType,
    rank: usize,
    rows: usize,
    columns: usize,
}

impl Tensor {
    /// Of a value of `f32`, `f16`, `bf16` or `f64` with at least two dimensions, the last of which are scores.
    ///
    /// # Errors
    /// [`Error::Shape`] for any other value.
    pub fn new(value: DynValue) -> Result<Self, Error> {
        use TensorElementType::{Bfloat16, Float16, Float32, Float64};
        let wrong =
            |ty: &ValueType| Error::shape("a tensor of scores", "floats of two dimensions or more", ty);
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else { return Err(wrong(value.dtype())) };
        let (element, rank) = (*ty, shape.len());
        if rank < 2 || !matches!(element, Float32 | Float16 | Bfloat16 | Float64) {
            return Err(wrong(value.dtype()));
        }
        let dims: Option<Vec<usize>> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let dims = dims.ok_or_else(|| wrong(value.dtype()))?;
        let (rows, columns) = (dims[..rank - 1].iter().product(), dims[rank - 1]);
        Ok(Self { value: Arc::new(value), element, rank, rows, columns })
    }

    /// The value.
    pub fn value(&self) -> &DynValue {
        &self.value
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    pub(super) fn element(&self) -> TensorElementType {
        self.element
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("element", &self.element)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}
