//! [`ParameterLoader`]: loads a model's stored tensors onto the device of a tensor library.
use crate::Result;
use crate::adapter::Adapter;
use crate::nn::Nn;
use crate::quantised::mxfp4;
use crate::spec::{Layout, LinearSpec};
use crate::tensors::{Dtype, RawTensor};
use crate::weights::Weights;

/// Loads a decoder's parameters from the weights and adapters onto a device.
pub(crate) struct ParameterLoader<'a, N: Nn> {
    pub(crate) nn: &'a N,
    pub(crate) weights: &'a dyn Weights,
    pub(crate) adapters: &'a [Adapter],
}

impl<N: Nn> ParameterLoader<'_, N> {
    /// An embedding of `rows` vectors of `width` entries.
    pub(crate) fn embedding(&self, name: &str, rows: usize, width: usize) -> Result<N::Linear> {
        let raw = self.weights.tensor(&format!("{name}.weight"), &[rows, width])?;
        Ok(self.nn.load_embedding(&raw)?)
    }

    /// A vector of `width` entries for each of `rows` positions.
    pub(crate) fn learned_positions(&self, name: &str, rows: usize, width: usize) -> Result<N::Linear> {
        let raw = self.weights.tensor(&format!("{name}.weight"), &[rows, width])?;
        Ok(self.nn.load_exact(&raw, false, None)?)
    }

    /// The weight of a linear layer, and its bias if it has one.
    pub(crate) fn linear(&self, spec: &LinearSpec) -> Result<N::Linear> {
        if let Layout::Stacked { index, count, from, every } = spec.layout {
            return self.stacked(spec, [index, count], [from, every]);
        }
        let weight_name = format!("{}.weight", spec.name);
        let bias_name = format!("{}.bias", spec.name);
        let (weight, paired) = self.weights.linear(&weight_name, &spec.stored_shape())?;
        let bias = spec.bias.then(|| self.weights.tensor(&bias_name, &[spec.outputs])).transpose()?;
        let bias = bias.map(|bias| in_order(bias, spec));
        Ok(match (paired, spec.layout) {
            (Some(head), Layout::OutIn) | (None, Layout::Paired { head }) => {
                self.nn.load_paired(&weight, head, bias.as_ref())?
            }
            (paired, layout) => {
                let weight = paired.map(|head| weight.unpaired(head)).unwrap_or(weight);
                self.nn.load_linear(&in_order(weight, spec), layout == Layout::InOut, bias.as_ref())?
            }
        })
    }

    /// A linear layer that consists of some columns of one of `count` matrices.
    fn stacked(
        &self,
        spec: &LinearSpec,
        [index, count]: [usize; 2],
        [from, every]: [usize; 2],
    ) -> Result<N::Linear> {
        let [inputs, columns] = spec.stored_shape();
        let matrix = self.weights.part(&spec.name, index, &[count, inputs, columns])?;
        let chosen = || (from..columns).step_by(every);
        // Quantised blocks are runs of inputs, so they are stored as outputs × inputs.
        let (weight, transposed) = match matrix.dtype {
            Dtype::Quantised(_) => {
                let blocks = matrix.reordered(chosen());
                (if self.nn.takes_blocks() { blocks } else { mxfp4::dequantised(blocks) }, false)
            }
            _ if every == 1 => (matrix, true),
            _ => (matrix.columns(from, every), true),
        };
        let bias_name = format!("{}_bias", spec.name);
        let bias = match spec.bias {
            true => Some(self.weights.part(&bias_name, index, &[count, columns])?.reordered(chosen())),
            false => None,
        };
        Ok(self.nn.load_linear(&weight, transposed, bias.as_ref())?)
    }
}

/// Reorders output rows that are stored in another order than they are computed with. Those that are interleaved by
/// key-value head become first all queries, then keys, then values; of neighbouring channels that rotate together, the
/// first of each pair come before the second.
pub(crate) fn in_order<'t>(raw: RawTensor<'t>, spec: &LinearSpec) -> RawTensor<'t> {
    match spec.layout {
        Layout::OutIn | Layout::InOut | Layout::Stacked { .. } => raw,
        Layout::Grouped { groups, queries, head } => raw.reordered(ungrouped_order(groups, queries, head)),
        Layout::Paired { head } => raw.unpaired(head),
    }
}

/// For each row of the ungrouped tensor, the index of that row in the grouped one.
fn ungrouped_order(groups: usize, queries: usize, head: usize) -> impl Iterator<Item = usize> {
    let in_group = queries + 2;
    let heads = move |from: usize, to: usize| {
        (0..groups).flat_map(move |g| (from..to).map(move |h| g * in_group + h))
    };
    let order = heads(0, queries).chain(heads(queries, queries + 1)).chain(heads(queries + 1, in_group));
    order.flat_map(move |h| h * head..(h + 1) * head)
}
