//! [`Norm`]: the weights of a norm.
use eft_core::Backend;

use crate::Result;
use crate::loader::ParameterLoader;
use crate::nn::{Nn, Tensor};
use crate::spec::{NormKind, NormSpec};
use crate::tensors::{Dtype, RawTensor};

/// The weights of an RMS norm, or with a bias those of a layer norm.
pub(crate) struct Norm<N: Nn> {
    weight: Tensor<N>,
    bias: Option<Tensor<N>>,
    epsilon: f64,
}

impl<N: Nn> Norm<N> {
    pub(crate) fn load(loader: &ParameterLoader<'_, N>, spec: &NormSpec) -> Result<Self> {
        let plus = if spec.kind == NormKind::RmsPlusOne { 1.0 } else { 0.0 };
        let tensor = |part: &str, plus| loader.tensor(&format!("{}.{part}", spec.name), &[spec.width], plus);
        let bias = match spec.kind {
            NormKind::Layer => Some(tensor("bias", 0.0)?),
            NormKind::LayerUnbiased => {
                let bytes = vec![0; Dtype::F32.bytes(spec.width)].into();
                let zeros = RawTensor { name: &spec.name, shape: vec![spec.width], dtype: Dtype::F32, bytes };
                Some(loader.nn.load(&zeros, 0.0)?)
            }
            NormKind::Rms | NormKind::RmsPlusOne => None,
        };
        Ok(Self { weight: tensor("weight", plus)?, bias, epsilon: spec.epsilon })
    }

    /// Another handle to the same weights.
    pub(crate) fn share(&self, nn: &N) -> Self {
        let tensor = |t: &Tensor<N>| nn.backend().shallow_clone(t);
        Self { weight: tensor(&self.weight), bias: self.bias.as_ref().map(tensor), epsilon: self.epsilon }
    }

    pub(crate) fn forward(&self, nn: &N, x: &Tensor<N>) -> eft_core::Result<Tensor<N>> {
        match &self.bias {
            Some(bias) => nn.layer_norm(x, &self.weight, bias, self.epsilon),
            None => nn.rms_norm(x, &self.weight, self.epsilon),
        }
    }
}
