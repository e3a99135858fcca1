//! [`Norm`]: a norm, which adapters may replace.
use eft_core::Backend;

use crate::Result;
use crate::adapter::StoredChange;
use crate::loader::ParameterLoader;
use crate::lora::{AdapterRows, replace_rows};
use crate::nn::{Nn, Tensor};
use crate::spec::{NormKind, NormSpec};
use crate::tensors::RawTensor;

/// A norm, and the one that each adapter has in its place.
pub(crate) struct Norm<N: Nn> {
    base: NormWeights<N>,
    epsilon: f64,
    /// One entry for each adapter of the engine; `None` if the adapter leaves the norm alone.
    adapters: Vec<Option<NormWeights<N>>>,
}

/// The weights of an RMS norm, or with a bias those of a layer norm.
struct NormWeights<N: Nn> {
    weight: Tensor<N>,
    bias: Option<Tensor<N>>,
}

impl<N: Nn> Norm<N> {
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &NormSpec) -> Result<Self> {
        let shape = [spec.width];
        let stored = |part: &str| loader.weights.tensor(&format!("{}.{part}", spec.name), &shape);
        let weight = match spec.kind {
            NormKind::RmsUnweighted => RawTensor::of_numbers(&spec.name, &shape, &vec![1.0; spec.width]),
            _ => stored("weight")?,
        };
        let base = NormWeights::load(loader.nn, spec, weight, || stored("bias").map(Some))?;
        let adapters = loader.adapters.iter().map(|adapter| {
            let Some(change) = adapter.norm(spec)? else { return Ok(None) };
            let StoredChange::Module { weight, bias } = change else {
                return Err(adapter.error(&spec.name, "is a norm, which can only be replaced".into()));
            };
            NormWeights::load(loader.nn, spec, weight, || Ok(bias.clone())).map(Some)
        });
        Ok(Self { base, epsilon: spec.epsilon, adapters: adapters.collect::<Result<_>>()? })
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let adapters = self.adapters.iter().map(|norm| norm.as_ref().map(|norm| norm.share(nn)));
        Self { base: self.base.share(nn), epsilon: self.epsilon, adapters: adapters.collect() }
    }

    pub(crate) fn forward(
        &self,
        nn: &N,
        x: &Tensor<N>,
        adapted: &[AdapterRows],
    ) -> eft_core::Result<Tensor<N>> {
        let mut out = self.base.forward(nn, x, self.epsilon)?;
        for AdapterRows { adapter, rows } in adapted {
            if let Some(Some(norm)) = self.adapters.get(*adapter)
                && !rows.is_empty()
            {
                let own = norm.forward(nn, &nn.rows(x, rows)?, self.epsilon)?;
                out = replace_rows(nn, out, rows, own)?;
            }
        }
        Ok(out)
    }
}

impl<N: Nn> NormWeights<N> {
    fn load<'a>(
        nn: &N,
        spec: &'a NormSpec,
        weight: RawTensor<'a>,
        bias: impl Fn() -> Result<Option<RawTensor<'a>>>,
    ) -> Result<Self> {
        let plus = if spec.kind == NormKind::RmsPlusOne { 1.0 } else { 0.0 };
        let bias = match spec.kind {
            NormKind::Layer => bias()?,
            NormKind::LayerUnbiased => {
                Some(RawTensor::of_numbers(&spec.name, &[spec.width], &vec![0.0; spec.width]))
            }
            NormKind::Rms | NormKind::RmsPlusOne | NormKind::RmsUnweighted => None,
        };
        let bias = bias.map(|bias| nn.load(&bias, 0.0)).transpose()?;
        Ok(Self { weight: nn.load(&weight, plus)?, bias })
    }

    fn share(&self, nn: &N) -> Self {
        let tensor = |t: &Tensor<N>| nn.backend().shallow_clone(t);
        Self { weight: tensor(&self.weight), bias: self.bias.as_ref().map(tensor) }
    }

    fn forward(&self, nn: &N, x: &Tensor<N>, epsilon: f64) -> eft_core::Result<Tensor<N>> {
        match &self.bias {
            Some(bias) => nn.layer_norm(x, &self.weight, bias, epsilon),
            None => nn.rms_norm(x, &self.weight, epsilon),
        }
    }
}
