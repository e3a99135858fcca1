//! [`Tensor`], and helpers that make values, declare outputs and read values back.
use std::fmt;
use std::sync::Arc;

use eft_core::{Error, Pick, Result, TokenId};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as TypedTensor, TensorElementType, ValueType};

use super::error::to_error;
use super::graph_builder::{Dtype, GraphBuilder, Placement, Var};

/// A matrix of scores: a value of ONNX Runtime whose last dimension is the columns and whose other dimensions together
/// are the rows. A clone is another handle to the same memory.
///
/// ```no_run
/// use eft_backend_ort::{Ort, Tensor};
/// use eft_core::{Backend, ScoreRow};
///
/// let ort = Ort::cpu()?;
/// // Logits of 1 sequence × 2 positions × 3 tokens, as a model returns them.
/// let logits = ort::value::Tensor::from_array(([1, 2, 3], vec![0.0f32, 2.0, 1.0, 5.0, 3.0, 4.0]))?;
/// let scores = Tensor::new(logits.into_dyn())?;
/// assert_eq!(scores.shape(), (2, 3));
/// assert_eq!(ort.argmax(&[ScoreRow::new(&scores, 1)], 3)?[0].token, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    value: Arc<DynValue>,
    element: TensorElementType,
    rank: usize,
    rows: usize,
    columns: usize,
}

impl Tensor {
    /// Wraps a value of `f32`, `f16`, `bf16` or `f64` that has at least two dimensions.
    ///
    /// # Errors
    /// * [`Error::Shape`] if the value is not a tensor, has another element type, or has fewer dimensions.
    pub fn new(value: DynValue) -> Result<Self> {
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

    /// Returns the value of ONNX Runtime.
    pub fn value(&self) -> &DynValue {
        &self.value
    }

    /// Returns the number of rows and the number of columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    pub(super) fn element(&self) -> TensorElementType {
        self.element
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    /// Whether both are handles to the same value.
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

/// A value in main memory.
pub(crate) fn value<T, const N: usize>(shape: [usize; N], data: Vec<T>) -> Result<DynValue>
where
    T: PrimitiveTensorElementType + fmt::Debug + Clone + 'static,
{
    TypedTensor::from_array((shape, data)).map(TypedTensor::into_dyn).map_err(to_error)
}

/// A value of integers in main memory.
pub(crate) fn integers<const N: usize>(shape: [usize; N], data: Vec<i64>) -> Result<DynValue> {
    value(shape, data)
}

/// A tensor without rows.
pub(super) fn empty(width: usize) -> Result<Tensor> {
    Tensor::new(value([0, width], Vec::<f32>::new())?)
}

/// The numbers of all values, which are `f32` in main memory, one value after another.
pub(super) fn numbers(values: &[DynValue]) -> Result<Vec<f32>> {
    let numbers = values.iter().map(|value| Ok(value.try_extract_tensor::<f32>().map_err(to_error)?.1));
    Ok(numbers.collect::<Result<Vec<_>>>()?.concat())
}

/// Makes tokens and their log-probs, `(n, count)` each, the outputs of a graph, for [`picks`] to read.
pub(super) fn output_picks(graph: &mut GraphBuilder, tokens: Var, log_probs: Var) {
    graph.output(tokens, Dtype::I64, 2, Placement::Host);
    graph.output(log_probs, Dtype::F32, 2, Placement::Host);
}

/// The `count` picks of each row, from the outputs that [`output_picks`] declares.
pub(super) fn picks(values: &[DynValue], count: usize) -> Result<Vec<Vec<Pick>>> {
    let [tokens, log_probs] = values else {
        return Err(Error::shape("outputs of a graph", 2, values.len()));
    };
    let (_, tokens) = tokens.try_extract_tensor::<i64>().map_err(to_error)?;
    let (_, log_probs) = log_probs.try_extract_tensor::<f32>().map_err(to_error)?;
    let pick = |(token, log_prob): (&i64, &f32)| {
        // The index found in an unsound row may not be a token id.
        let token = if log_prob.is_nan() { 0 } else { TokenId::try_from(*token).unwrap_or(0) };
        Pick { token, log_prob: *log_prob }
    };
    let rows = tokens.chunks(count).zip(log_probs.chunks(count));
    Ok(rows.map(|(tokens, log_probs)| tokens.iter().zip(log_probs).map(pick).collect()).collect())
}
