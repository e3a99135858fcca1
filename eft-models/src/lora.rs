//! [`LoraLinear`]: a linear layer with adapters. Rows under different adapters run in one pass, which reads the base's
//! weights once.
//!
//! Hu et al. 2021, arXiv 2106.09685, equation 3: `h = W·x + scale·B·A·x`. Liu et al. 2024 (DoRA), arXiv 2402.09353,
//! equation 5: the rows of `W + scale·B·A` are brought to trained lengths.
use eft_core::{Backend, Result, TokenId};

use crate::adapter::{Adapter, StoredChange, StoredLowRank};
use crate::loader::{ParameterLoader, in_order};
use crate::nn::{Nn, Tensor};
use crate::spec::{Layout, LinearSpec};
use crate::tensors::{Dtype, RawTensor};

/// The largest number of entries of the matrix that places the rows of single tokens.
const MOST_ONES: usize = 1 << 28;

/// A linear layer, and its change by each adapter.
pub(crate) struct LoraLinear<N: Nn> {
    base: N::Linear,
    /// One entry for each adapter of the engine; `None` if the adapter leaves this layer alone.
    adapters: Vec<Option<Change<N>>>,
}

/// How an adapter changes a linear layer.
enum Change<N: Nn> {
    LowRank(LowRank<N>),
    /// It is another one.
    Saved(N::Linear),
}

/// `scale·(B·A·x + bias)`, with `down` = A (rank × inputs) and `up` = B (outputs × rank) with the bias.
struct LowRank<N: Nn> {
    down: N::Linear,
    up: N::Linear,
    scale: f32,
    /// What the base's outputs are multiplied by to give another part of the change.
    growth: Option<Tensor<N>>,
}

/// The rows of the activations that run under one adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterRows {
    /// Index of the adapter.
    pub(crate) adapter: usize,
    /// Row indices of the activations, ascending.
    pub(crate) rows: Vec<usize>,
}

impl AdapterRows {
    /// The rows among those that are kept of the activations. `kept` is ascending.
    pub(crate) fn among(&self, kept: &[usize]) -> Self {
        let rows = self.rows.iter().filter_map(|row| kept.binary_search(row).ok()).collect();
        Self { adapter: self.adapter, rows }
    }
}

impl<N: Nn> LoraLinear<N> {
    /// A linear layer without adapters.
    pub(crate) fn plain(base: N::Linear) -> Self {
        Self { base, adapters: Vec::new() }
    }

    /// Loads a linear layer, and what each adapter has for it.
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &LinearSpec) -> crate::Result<Self> {
        Self::with_base(loader, spec, loader.linear(spec)?, &format!("{}.weight", spec.name))
    }

    /// Loads what each adapter has for a linear layer. `weight` is the name of the base's weight.
    pub(crate) fn with_base(
        loader: &ParameterLoader<'_, N>,
        spec: &LinearSpec,
        base: N::Linear,
        weight: &str,
    ) -> crate::Result<Self> {
        let nn = loader.nn;
        let own = || loader.weights.tensor(weight, &spec.stored_shape());
        let adapters = loader.adapters.iter().map(|adapter| {
            let Some(change) = adapter.linear(loader.weights.spec(), spec, &own)? else { return Ok(None) };
            let low_rank = match change {
                StoredChange::Module { weight, bias } => {
                    let (weight, bias) = (in_order(weight, spec), bias.map(|bias| in_order(bias, spec)));
                    let transposed = spec.layout == Layout::InOut;
                    return Ok(Some(Change::Saved(nn.load_linear(&weight, transposed, bias.as_ref())?)));
                }
                StoredChange::LowRank(low_rank) if low_rank.magnitude.is_some() => {
                    scaled_rows(loader, adapter, spec, low_rank, own()?)?
                }
                StoredChange::LowRank(low_rank) => low_rank,
                StoredChange::Rows { tokens, rows } => other_rows(adapter, spec, &tokens, &rows, &own()?)?,
            };
            let bias = low_rank.bias.map(|bias| in_order(bias, spec));
            let growth = low_rank.magnitude.map(|growth| nn.load(&in_order(growth, spec), 0.0));
            Ok(Some(Change::LowRank(LowRank {
                down: nn.load_exact(&low_rank.down, false, None)?,
                up: nn.load_exact(&in_order(low_rank.up, spec), false, bias.as_ref())?,
                scale: low_rank.scale,
                growth: growth.transpose()?,
            })))
        });
        let adapters = adapters.collect::<crate::Result<_>>()?;
        Ok(Self { base, adapters })
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let share = |change: &Change<N>| match change {
            Change::LowRank(LowRank { down, up, scale, growth }) => Change::LowRank(LowRank {
                down: nn.share(down),
                up: nn.share(up),
                scale: *scale,
                growth: growth.as_ref().map(|growth| nn.backend().shallow_clone(growth)),
            }),
            Change::Saved(saved) => Change::Saved(nn.share(saved)),
        };
        let adapters = self.adapters.iter().map(|change| change.as_ref().map(share)).collect();
        Self { base: nn.share(&self.base), adapters }
    }

    /// `x·Wᵀ + b`, changed on the rows of each adapter.
    pub(crate) fn forward(&self, nn: &N, x: &Tensor<N>, adapted: &[AdapterRows]) -> Result<Tensor<N>> {
        self.change(nn, x, nn.linear(x, &self.base)?, adapted)
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
        layers.iter().zip(outs).map(|(layer, out)| layer.change(nn, x, out, adapted)).collect()
    }

    /// Changes `out`, the output of the base, as the adapters do.
    fn change(
        &self,
        nn: &N,
        x: &Tensor<N>,
        mut out: Tensor<N>,
        adapted: &[AdapterRows],
    ) -> Result<Tensor<N>> {
        for AdapterRows { adapter, rows } in adapted {
            let Some(Some(change)) = self.adapters.get(*adapter) else { continue };
            if rows.is_empty() {
                continue;
            }
            let all = nn.backend().shape(x).0 == rows.len();
            let own = if all { None } else { Some(nn.rows(x, rows)?) };
            let own = own.as_ref().unwrap_or(x);
            let LowRank { down, up, scale, growth } = match change {
                Change::LowRank(low_rank) => low_rank,
                Change::Saved(saved) => {
                    out = replace_rows(nn, out, rows, nn.linear(own, saved)?)?;
                    continue;
                }
            };
            let mut delta = nn.scale(&nn.linear(&nn.linear(own, down)?, up)?, *scale)?;
            if let Some(growth) = growth {
                let grown = match all {
                    true => nn.scale_columns(&out, growth)?,
                    false => nn.scale_columns(&nn.rows(&out, rows)?, growth)?,
                };
                delta = nn.add(&delta, &grown)?;
            }
            out = if all { nn.add(&out, &delta)? } else { nn.add_rows(&out, rows, &delta)? };
        }
        Ok(out)
    }
}

/// Returns `x` with the rows of these indices replaced by those of `new`.
pub(crate) fn replace_rows<N: Nn>(nn: &N, x: Tensor<N>, rows: &[usize], new: Tensor<N>) -> Result<Tensor<N>> {
    if nn.backend().shape(&x).0 == rows.len() {
        return Ok(new);
    }
    let old = nn.scale(&nn.rows(&x, rows)?, -1.0)?;
    nn.add_rows(&x, rows, &nn.add(&new, &old)?)
}

/// Turns the change by DoRA into one that is added. Row `o` of the changed weight, `W + scale·B·A`, is multiplied by
/// `g = magnitude[o] / ‖W[o] + scale·(B·A)[o]‖`, so `(g − 1)·(y − b)` and `g·scale·(B·A·x)[o]` are added to the base's
/// output `y`, of which `b` is the bias. The result holds `g − 1` as its magnitude.
fn scaled_rows<'a, N: Nn>(
    loader: &ParameterLoader<'_, N>,
    adapter: &Adapter,
    spec: &LinearSpec,
    change: StoredLowRank<'a>,
    weight: RawTensor<'_>,
) -> crate::Result<StoredLowRank<'a>> {
    let numbers = |raw: &RawTensor<'_>| {
        let reason =
            "is of quantised blocks, and norms of its rows are needed for DoRA, which is not supported";
        raw.numbers().ok_or_else(|| adapter.error(raw.name, reason.into()))
    };
    let StoredLowRank { down, mut up, scale, magnitude, .. } = change;
    let (dense, a, mut b) = (numbers(&weight)?, numbers(&down)?, numbers(&up)?);
    let magnitude = magnitude.as_ref().map(numbers).transpose()?.unwrap_or_default();
    let rank = down.shape[0];
    let mut growth = Vec::with_capacity(spec.outputs);
    for (output, (b, magnitude)) in b.chunks_mut(rank).zip(magnitude).enumerate() {
        let mut row: Vec<f32> = match spec.layout {
            Layout::InOut => dense.iter().skip(output).step_by(spec.outputs).copied().collect(),
            _ => dense[output * spec.inputs..][..spec.inputs].to_vec(),
        };
        for (a, b) in a.chunks(spec.inputs).zip(b.iter()) {
            row.iter_mut().zip(a).for_each(|(row, a)| *row += scale * b * a);
        }
        let length = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let factor = magnitude / length as f32;
        b.iter_mut().for_each(|b| *b *= factor * scale);
        growth.push(factor - 1.0);
    }
    let bias = match spec.bias {
        true => {
            let bias = loader.weights.tensor(&format!("{}.bias", spec.name), &[spec.outputs])?;
            let shift: Vec<_> = numbers(&bias)?.iter().zip(&growth).map(|(bias, g)| -bias * g).collect();
            Some(RawTensor::of_numbers(down.name, &[spec.outputs], &shift))
        }
        false => None,
    };
    up = RawTensor::of_numbers(up.name, &up.shape, &b);
    let magnitude = Some(RawTensor::of_numbers(down.name, &[spec.outputs], &growth));
    Ok(StoredLowRank { down, up, bias, magnitude, scale: 1.0 })
}

/// Turns other rows of a weight into a change that is added, of one rank for each of them: A holds the differences from
/// the base's rows, and B the number 1 at the place of each row.
fn other_rows<'a>(
    adapter: &Adapter,
    spec: &LinearSpec,
    tokens: &[TokenId],
    rows: &RawTensor<'a>,
    weight: &RawTensor<'_>,
) -> crate::Result<StoredLowRank<'a>> {
    let error = |reason: &str| adapter.error(rows.name, reason.into());
    if tokens.len() * spec.outputs > MOST_ONES {
        return Err(error("has too many rows for an output head: save the whole head instead"));
    }
    if !matches!(weight.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) || spec.layout != Layout::OutIn {
        return Err(error("replaces rows of a head of quantised blocks, which is not supported"));
    }
    let own = weight.reordered(tokens.iter().map(|token| *token as usize));
    let (Some(own), Some(new)) = (own.numbers(), rows.numbers()) else {
        return Err(error("is of quantised blocks, which is not supported"));
    };
    let differences: Vec<f32> = new.iter().zip(own).map(|(new, own)| new - own).collect();
    let mut ones = vec![0.0; spec.outputs * tokens.len()];
    for (i, token) in tokens.iter().enumerate() {
        ones[*token as usize * tokens.len() + i] = 1.0;
    }
    let down = RawTensor::of_numbers(rows.name, &[tokens.len(), spec.inputs], &differences);
    let up = RawTensor::of_numbers(rows.name, &[spec.outputs, tokens.len()], &ones);
    Ok(StoredLowRank::new(down, up, 1.0))
}
