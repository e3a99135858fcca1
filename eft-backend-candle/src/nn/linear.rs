use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{Device, Module, Result, Tensor};

use crate::cpu::Matrix;

/// Rows of activations up to which the weights are multiplied from the left on a CPU.
const FEW: usize = 16;

/// A matrix with a row for each output, perhaps with a bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
enum Weight {
    /// As its file holds it, on the processor.
    Stored(Matrix),
    Tensor(Tensor),
    /// Quantised, on a GPU; also as its file holds it, for embeddings.
    Quantised(Arc<QMatMul>, Matrix),
}

impl Linear {
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight: Weight::Tensor(weight), bias }
    }

    pub(crate) fn stored(weight: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight: Weight::Stored(weight), bias }
    }

    pub(crate) fn quantised(weight: QMatMul, stored: Matrix, bias: Option<Tensor>) -> Self {
        Self { weight: Weight::Quantised(Arc::new(weight), stored), bias }
    }

    /// The matrix, if it is as its file holds it.
    pub(super) fn matrix(&self) -> Option<&Matrix> {
        match &self.weight {
            Weight::Stored(matrix) => Some(matrix),
            Weight::Tensor(_) | Weight::Quantised(..) => None,
        }
    }

    pub(super) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// `x·Wᵀ + b`, by candle's operations.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let out = match &self.weight {
            Weight::Quantised(weight, _) => weight.forward(x)?,
            // On a CPU a few rows are memory-bound, and `x·Wᵀ` reads the weights in the wrong order: it takes twice to
            // three times as long as `W·xᵀ`.
            Weight::Tensor(weight) if x.device().is_cpu() && (2..=FEW).contains(&rows) => {
                weight.matmul(&x.t()?)?.t()?.contiguous()?
            }
            Weight::Tensor(weight) => x.matmul(&weight.t()?)?,
            Weight::Stored(_) => candle_core::bail!("weights as their file holds them have no tensor"),
        };
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }

    /// Some rows of the weight.
    pub(super) fn rows(&self, rows: &[u32], device: &Device) -> Result<Tensor> {
        match &self.weight {
            Weight::Tensor(weight) => weight.index_select(&Tensor::new(rows, device)?, 0),
            Weight::Stored(matrix) | Weight::Quantised(_, matrix) => match matrix.rows(rows) {
                Some(found) => Tensor::from_vec(found, (rows.len(), matrix.columns()), device),
                None => candle_core::bail!("rows {rows:?} of {matrix:?} are not all there"),
            },
        }
    }
}
