use candle_core::{Result, Tensor};

/// Rows of activations up to which the weights are multiplied from the left on a CPU.
const FEW: usize = 16;

/// A matrix with a row for each output, perhaps with a bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let out = if x.device().is_cpu() && (2..=FEW).contains(&rows) {
            // On a CPU a few rows are memory-bound, and `x·Wᵀ` reads the weights in the wrong order: it takes twice
            // to three times as long as `W·xᵀ`.
            self.weight.matmul(&x.t()?)?.t()?.contiguous()?
        } else {
            x.matmul(&self.weight.t()?)?
        };
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }
}
