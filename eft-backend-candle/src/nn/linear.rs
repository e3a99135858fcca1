use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{DType, Device, Module, Result, Tensor};

use eft_cpu::Matrix;

/// Up to this many rows of activations, a CPU computes `(W·xᵀ)ᵀ` instead of `x·Wᵀ`.
const FEW: usize = 16;

/// A linear layer or an embedding: a weight matrix of shape outputs × inputs, and an optional bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
enum Weight {
    /// In the layout of its file, for the operations of `eft_cpu`.
    Stored(Matrix),
    /// A candle tensor.
    Tensor(Tensor),
    /// Quantised, for candle's own operations. The layout of the file is kept too, for looking up embeddings.
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

    /// The weight, if it is in the layout of its file.
    pub(super) fn matrix(&self) -> Option<&Matrix> {
        match &self.weight {
            Weight::Stored(matrix) => Some(matrix),
            Weight::Tensor(_) | Weight::Quantised(..) => None,
        }
    }

    pub(super) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Computes `x·Wᵀ + b` with candle's operations.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let out = match &self.weight {
            // Candle multiplies quantised weights with f32 only.
            Weight::Quantised(weight, _) => {
                weight.forward(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())?
            }
            // With few rows, a CPU is bound by reading the weights, which `x·Wᵀ` reads against their order in memory:
            // it takes two to three times as long as `W·xᵀ`.
            Weight::Tensor(weight) if x.device().is_cpu() && (2..=FEW).contains(&rows) => {
                weight.matmul(&x.t()?)?.t()?.contiguous()?
            }
            Weight::Tensor(weight) => x.matmul(&weight.t()?)?,
            Weight::Stored(_) => candle_core::bail!("internal error: this weight is not a candle tensor"),
        };
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }

    /// Returns the given rows of the weight, in f32 if they are stored in the layout of a file.
    pub(super) fn rows(&self, rows: &[u32], device: &Device) -> Result<Tensor> {
        match &self.weight {
            Weight::Tensor(weight) => weight.index_select(&Tensor::new(rows, device)?, 0),
            Weight::Stored(matrix) | Weight::Quantised(_, matrix) => match matrix.rows(rows) {
                Some(found) => Tensor::from_vec(found, (rows.len(), matrix.columns()), device),
                None => candle_core::bail!("a row of {rows:?} is out of range for {matrix:?}"),
            },
        }
    }
}
