//! [`LoraLinear`]: a linear layer with LoRA adapters. Rows under different adapters run in one pass, which reads the
//! base's weights once.
//!
//! Hu et al. 2021, arXiv 2106.09685, equation 3: `h = W·x + scale·B·A·x`.
use eft_core::{Backend, Result};

use crate::loader::{ParameterLoader, in_order};
use crate::nn::{Nn, Tensor};
use crate::spec::LinearSpec;

/// A linear layer, and the low-rank change by each adapter.
pub(crate) struct LoraLinear<N: Nn> {
    base: N::Linear,
    /// One entry for each adapter of the engine; `None` if the adapter leaves this layer alone.
    adapters: Vec<Option<LowRank<N>>>,
}

/// `scale·B·A`, with `down` = A (rank × inputs) and `up` = B (outputs × rank).
struct LowRank<N: Nn> {
    down: N::Linear,
    up: N::Linear,
    scale: f32,
}

/// The rows of the activations that run under one adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterRows {
    /// Index of the adapter.
    pub(crate) adapter: usize,
    /// Row indices of the activations.
    pub(crate) rows: Vec<usize>,
}

impl<N: Nn> LoraLinear<N> {
    /// A linear layer without adapters.
    pub(crate) fn plain(base: N::Linear) -> Self {
        Self { base, adapters: Vec::new() }
    }

    /// Loads a linear layer, and the low-rank matrices that each adapter has for it.
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &LinearSpec) -> crate::Result<Self> {
        let adapters = loader.adapters.iter().map(|adapter| {
            let Some(low_rank) = adapter.low_rank(spec)? else { return Ok(None) };
            let up = in_order(low_rank.up, spec);
            Ok(Some(LowRank {
                down: loader.nn.load_linear(&low_rank.down, false, None)?,
                up: loader.nn.load_linear(&up, false, None)?,
                scale: low_rank.scale,
            }))
        });
        Ok(Self { base: loader.linear(spec)?, adapters: adapters.collect::<crate::Result<_>>()? })
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let share = |low_rank: &LowRank<N>| LowRank {
            down: nn.share(&low_rank.down),
            up: nn.share(&low_rank.up),
            scale: low_rank.scale,
        };
        Self {
            base: nn.share(&self.base),
            adapters: self.adapters.iter().map(|adapter| adapter.as_ref().map(share)).collect(),
        }
    }

    /// `x·Wᵀ + b`, plus `scale·x·Aᵀ·Bᵀ` on the rows of each adapter.
    pub(crate) fn forward(&self, nn: &N, x: &Tensor<N>, adapted: &[AdapterRows]) -> Result<Tensor<N>> {
        self.add_low_rank(nn, x, nn.linear(x, &self.base)?, adapted)
    }

    /// [`forward`](Self::forward) of several layers that read the same `x`.
    pub(crate) fn forward_all(
        layers: &[Self],
        nn: &N,
        x: &Tensor<N>,
        adapted: &[AdapterRows],
    ) -> Result<Vec<Tensor<N>>> {
        let bases: Vec<_> = layers.iter().map(|layer| &layer.base).collect();
        let outs = nn.linears(x, &bases)?;
        layers.iter().zip(outs).map(|(layer, out)| layer.add_low_rank(nn, x, out, adapted)).collect()
    }

    /// Adds the low-rank products of the adapters to `out`, the output of the base.
    fn add_low_rank(
        &self,
        nn: &N,
        x: &Tensor<N>,
        mut out: Tensor<N>,
        adapted: &[AdapterRows],
    ) -> Result<Tensor<N>> {
        for AdapterRows { adapter, rows } in adapted {
            let Some(Some(low_rank)) = self.adapters.get(*adapter) else { continue };
            let all = nn.backend().shape(x).0 == rows.len();
            let low = if all {
                nn.linear(x, &low_rank.down)?
            } else {
                nn.linear(&nn.rows(x, rows)?, &low_rank.down)?
            };
            let delta = nn.scale(&nn.linear(&low, &low_rank.up)?, low_rank.scale)?;
            out = if all { nn.add(&out, &delta)? } else { nn.add_rows(&out, rows, &delta)? };
        }
        Ok(out)
    }
}
