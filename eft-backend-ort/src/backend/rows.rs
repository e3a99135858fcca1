//! Score rows that lie in any tensors, as one input of a graph.
use eft_core::{Backend, Result, ScoreRow};
use ort::value::{DynValue, TensorElementType};

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::tensor::{Tensor, integers};

/// The first `width` columns of some rows of one tensor. Nothing is copied: a graph gathers them as it runs.
pub(super) struct Rows {
    tensor: Tensor,
    /// The indices of the rows; `None` for all rows in order.
    index: Option<DynValue>,
    width: usize,
}

/// The layout of rows that a graph is compiled for, part of the key by which graphs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// The number of the element type, which itself cannot be hashed.
    element: i32,
    rank: usize,
    indexed: bool,
    narrowed: bool,
    width: usize,
}

impl Rows {
    /// All rows of a tensor.
    pub(super) fn whole(tensor: Tensor) -> Self {
        let width = tensor.shape().1;
        Self { tensor, index: None, width }
    }

    /// The rows, one part for each run of rows that lie in the same tensor; empty if there are no rows.
    pub(super) fn parts<B: Backend<Tensor = Tensor>>(
        rows: &[ScoreRow<'_, B>],
        width: usize,
    ) -> Result<Vec<Self>> {
        rows.chunk_by(|a, b| a.tensor.is(b.tensor)).map(|run| Self::of_one(run, width)).collect()
    }

    fn of_one<B: Backend<Tensor = Tensor>>(rows: &[ScoreRow<'_, B>], width: usize) -> Result<Self> {
        let tensor = rows[0].tensor.clone();
        let all = rows.len() == tensor.shape().0 && rows.iter().enumerate().all(|(i, row)| row.index == i);
        let index = match all {
            true => None,
            false => Some(integers([rows.len()], rows.iter().map(|row| row.index as i64).collect())?),
        };
        Ok(Self { tensor, index, width })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn layout(&self) -> Layout {
        Layout {
            element: ort::sys::ONNXTensorElementDataType::from(self.tensor.element()) as i32,
            rank: self.tensor.rank(),
            indexed: self.index.is_some(),
            narrowed: self.tensor.shape().1 > self.width,
            width: self.width,
        }
    }

    /// Declares the inputs that [`bind`](Self::bind) binds, and returns the rows in `f32`.
    pub(super) fn declare(&self, graph: &mut GraphBuilder) -> Var {
        let value = graph.input(self.tensor.element(), self.tensor.rank());
        let mut rows = graph.op_with("Flatten", &[value], &[("axis", -1)]);
        if self.index.is_some() {
            let index = graph.argument(Dtype::I64, 1);
            rows = graph.gather_rows(rows, index);
        }
        if self.tensor.shape().1 > self.width {
            rows = graph.slice_columns(rows, 0, self.width);
        }
        match self.tensor.element() {
            TensorElementType::Float32 => rows,
            _ => graph.cast(rows, Dtype::F32),
        }
    }

    pub(super) fn bind<'a>(&'a self, inputs: &mut Vec<&'a DynValue>) {
        inputs.push(self.tensor.value());
        inputs.extend(&self.index);
    }
}
