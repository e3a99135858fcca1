//! Rows that lie anywhere, as an input of a graph.
use eft_core::{Error, Result, ScoreRow};
use ort::value::{DynValue, TensorElementType};

use super::net::{Kind, Net, Var};
use super::operation::Operation;
use super::{Ort, Tensor, integers};

/// Rows of one tensor.
pub(super) struct Rows {
    tensor: Tensor,
    /// Which they are; all of them, in order, where `None`.
    index: Option<DynValue>,
}

/// What a graph must know of an input of rows. Graphs are kept by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// The element type's number: the type itself cannot be hashed.
    element: i32,
    rank: usize,
    picked: bool,
    narrowed: bool,
}

impl Rows {
    /// Rows of several tensors are brought together first, by a graph of their own.
    pub(super) fn new(ort: &Ort, rows: &[ScoreRow<'_, Ort>], width: usize) -> Result<Self> {
        let mut runs: Vec<&[ScoreRow<'_, Ort>]> = Vec::new();
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|row| row.tensor.is(first.tensor)).count();
            runs.push(&rest[..count]);
            rest = &rest[count..];
        }
        match runs[..] {
            [run] => Self::of_one(run),
            _ => {
                let parts = runs.into_iter().map(Self::of_one).collect::<Result<Vec<_>>>()?;
                let tensor = ort.tensor(Operation::Collect, parts, width, Vec::new())?;
                Ok(Self::whole(tensor))
            }
        }
    }

    pub(super) fn whole(tensor: Tensor) -> Self {
        Self { tensor, index: None }
    }

    fn of_one(rows: &[ScoreRow<'_, Ort>]) -> Result<Self> {
        let Some(first) = rows.first() else {
            return Err(Error::shape("rows of a graph", "at least one", 0));
        };
        let tensor = first.tensor.clone();
        let all = rows.len() == tensor.shape().0 && rows.iter().enumerate().all(|(i, row)| row.index == i);
        if all {
            return Ok(Self::whole(tensor));
        }
        let index = integers([rows.len()], rows.iter().map(|row| row.index as i64).collect())?;
        Ok(Self { tensor, index: Some(index) })
    }

    pub(super) fn layout(&self, width: usize) -> Layout {
        Layout {
            element: ort::sys::ONNXTensorElementDataType::from(self.tensor.element()) as i32,
            rank: self.tensor.rank(),
            picked: self.index.is_some(),
            narrowed: self.tensor.shape().1 > width,
        }
    }

    pub(super) fn bind<'a>(&'a self, inputs: &mut Vec<&'a DynValue>) {
        inputs.push(self.tensor.value());
        inputs.extend(&self.index);
    }

    pub(super) fn element(&self) -> TensorElementType {
        self.tensor.element()
    }
}

impl Layout {
    /// The rows' first `width` columns in `f32`.
    pub(super) fn declare(self, net: &mut Net, element: TensorElementType, width: usize) -> Var {
        let value = net.input(element, self.rank);
        let mut rows = net.op_with("Flatten", &[value], &[("axis", -1)]);
        if self.picked {
            let index = net.argument(Kind::I64, 1);
            rows = net.rows(rows, index);
        }
        if self.narrowed {
            rows = net.columns(rows, 0, width);
        }
        match element {
            TensorElementType::Float32 => rows,
            _ => net.cast(rows, Kind::F32),
        }
    }
}
