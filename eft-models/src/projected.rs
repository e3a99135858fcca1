//! A linear layer under adapters: rows of several adapters run in one pass, which reads the base's weights once.
use eft_core::{Backend, Result};

use crate::adapter::Adapter;
use crate::decoder::Loader;
use crate::nn::{Nn, Tensor};
use crate::spec::LinearSpec;

/// A linear layer, and what each adapter adds to it.
pub(crate) struct Projected<N: Nn> {
    linear: N::Linear,
    /// For each of the engine's adapters.
    changes: Vec<Option<LowRank<N>>>,
}

struct LowRank<N: Nn> {
    down: N::Linear,
    up: N::Linear,
    scale: f32,
}

/// Which rows of the activations run under an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapted {
    pub(crate) adapter: usize,
    pub(crate) rows: Vec<usize>,
}

impl<N: Nn> Projected<N> {
    pub(crate) fn plain(linear: N::Linear) -> Self {
        Self { linear, changes: Vec::new() }
    }

    pub(crate) fn load(load: &Loader<'_, N>, spec: &LinearSpec, adapters: &[Adapter]) -> crate::Result<Self> {
        let changes = adapters.iter().map(|adapter| {
            let Some(change) = adapter.change(spec)? else { return Ok(None) };
            let up = load.in_order(change.up, spec);
            Ok(Some(LowRank {
                down: load.nn.load_linear(&change.down, false, None)?,
                up: load.nn.load_linear(&up, false, None)?,
                scale: change.scale,
            }))
        });
        Ok(Self { linear: load.linear(spec)?, changes: changes.collect::<crate::Result<_>>()? })
    }

    pub(crate) fn share(&self, nn: &N) -> Self {
        let share = |change: &LowRank<N>| LowRank {
            down: nn.share(&change.down),
            up: nn.share(&change.up),
            scale: change.scale,
        };
        Self {
            linear: nn.share(&self.linear),
            changes: self.changes.iter().map(|c| c.as_ref().map(share)).collect(),
        }
    }

    /// `x·Wᵀ + b`, and `scale·x·Aᵀ·Bᵀ` on the rows of each adapter.
    pub(crate) fn forward(&self, nn: &N, x: &Tensor<N>, adapted: &[Adapted]) -> Result<Tensor<N>> {
        self.changed(nn, x, nn.linear(x, &self.linear)?, adapted)
    }

    /// The same of several layers that read the same `x`.
    pub(crate) fn forward_all(
        layers: &[Self],
        nn: &N,
        x: &Tensor<N>,
        adapted: &[Adapted],
    ) -> Result<Vec<Tensor<N>>> {
        let linears: Vec<_> = layers.iter().map(|layer| &layer.linear).collect();
        let outs = nn.linears(x, &linears)?;
        layers.iter().zip(outs).map(|(layer, out)| layer.changed(nn, x, out, adapted)).collect()
    }

    /// What the layer gave, with what adapters add to it.
    fn changed(&self, nn: &N, x: &Tensor<N>, mut out: Tensor<N>, adapted: &[Adapted]) -> Result<Tensor<N>> {
        for Adapted { adapter, rows } in adapted {
            let Some(Some(change)) = self.changes.get(*adapter) else { continue };
            let all = nn.backend().shape(x).0 == rows.len();
            let low =
                if all { nn.linear(x, &change.down)? } else { nn.linear(&nn.rows(x, rows)?, &change.down)? };
            let delta = nn.scale(&nn.linear(&low, &change.up)?, change.scale)?;
            out = if all { nn.add(&out, &delta)? } else { nn.add_rows(&out, rows, &delta)? };
        }
        Ok(out)
    }
}
