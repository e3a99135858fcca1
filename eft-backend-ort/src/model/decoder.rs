//! [`Decoder`]: an ONNX model, and how one forward pass runs.
use std::path::PathBuf;
use std::sync::Arc;

use eft_core::{Error, Result};
use eft_models::graph::{ForwardInput, ForwardOutput, Graph, GraphCaps, Precision, SlotSelection};
use ort::memory::Allocator;
use ort::value::{DynTensor, DynValue, TensorElementType};

use super::cache::{CacheTensor, CacheValue};
use super::gather::Gather;
use super::interface::Interface;
use crate::backend::runner::Runner;
use crate::backend::{integers, to_error, value};
use crate::{Ort, Tensor};

/// A loaded model, as a function from tokens and caches to logits and caches.
pub(super) struct Decoder {
    pub(super) file: PathBuf,
    pub(super) ort: Ort,
    pub(super) runner: Runner,
    pub(super) interface: Interface,
    pub(super) gather: Gather,
}

impl Decoder {
    /// Runs the model. `caches` may be empty if there are no slots.
    fn run(&self, pass: &ForwardInput, caches: &[CacheValue]) -> Result<ForwardOutput<Self>> {
        let ForwardInput { rows, tokens, slots, wanted, .. } = *pass;
        let interface = &self.interface;
        let (new, all) = ([rows, tokens], [rows, slots + tokens]);
        let mut inputs = vec![("input_ids", integers_as(interface.ids, new, pass.ids.clone())?)];
        if let Some(element) = interface.mask {
            inputs.push(("attention_mask", integers_as(element, all, pass.mask.clone())?));
        }
        if let Some(element) = interface.positions {
            inputs.push(("position_ids", integers_as(element, new, pass.positions.clone())?));
        }
        if interface.use_cache_branch {
            inputs.push(("use_cache_branch", value([1], vec![slots > 0])?));
        }
        // How many positions of each row the model returns logits of.
        let kept = match interface.logits_to_keep {
            None => tokens,
            Some((element, has_dimension)) => {
                let kept = wanted.max(1);
                let count = vec![kept as i64];
                let count = match has_dimension {
                    true => integers_as(element, [1], count)?,
                    false => integers_as(element, [], count)?,
                };
                inputs.push(("num_logits_to_keep", count));
                kept
            }
        };
        let empty = if caches.is_empty() { self.empty_caches(rows)? } else { Vec::new() };
        let caches = if caches.is_empty() { &empty } else { caches };
        let past = interface.caches.iter().zip(caches).map(|(cache, value)| (cache.past.as_str(), &**value));
        let inputs = inputs.iter().map(|(name, value)| (*name, value)).chain(past);

        let device = &self.ort.memory().device;
        let mut outputs: Vec<_> =
            interface.caches.iter().map(|cache| (cache.present.as_str(), device)).collect();
        if wanted > 0 {
            outputs.push(("logits", device));
        }
        let mut values = self.runner.run(inputs, &outputs).map_err(to_error)?;
        let logits = (wanted > 0).then(|| values.pop()).flatten().map(Tensor::new).transpose()?;
        if let Some(logits) = &logits
            && logits.shape().0 != rows * kept
        {
            let what = format!("{}: `logits`", self.file.display());
            return Err(Error::shape(what, format!("{rows} × {kept} rows"), logits.shape().0));
        }
        let caches: Vec<_> = values.into_iter().map(Arc::new).collect();
        let caches = if caches.is_empty() { None } else { Some(caches) };
        Ok(ForwardOutput { logits: logits.map(|logits| (logits, kept)), caches })
    }

    /// Caches of `rows` rows without slots.
    fn empty_caches(&self, rows: usize) -> Result<Vec<CacheValue>> {
        let allocator = Allocator::default();
        let empty = |cache: &CacheTensor| {
            let shape = [rows, cache.heads, 0, cache.size];
            let value = DynTensor::new(&allocator, cache.element, shape).map_err(to_error)?;
            Ok(Arc::new(value.into_dyn()))
        };
        self.interface.caches.iter().map(empty).collect()
    }
}

impl Graph for Decoder {
    type Backend = Ort;
    type Caches = Vec<CacheValue>;

    fn backend(&self) -> &Ort {
        &self.ort
    }

    fn caps(&self) -> GraphCaps {
        let interface = &self.interface;
        GraphCaps {
            cached: !interface.caches.is_empty(),
            masked: interface.mask.is_some(),
            one_row: interface.one_row,
            precision: precision(interface.caches.iter().map(|cache| cache.element)),
        }
    }

    fn forward(&self, pass: &ForwardInput, caches: Option<&Vec<CacheValue>>) -> Result<ForwardOutput<Self>> {
        self.run(pass, caches.map_or(&[], Vec::as_slice))
    }

    fn gather(
        &self,
        caches: &Vec<CacheValue>,
        slots: usize,
        picked: &[SlotSelection],
    ) -> Result<Vec<CacheValue>> {
        self.gather.run(&self.ort, &self.interface.caches, caches, slots, picked)
    }
}

/// The coarsest of the types of the caches, which are those of the activations.
fn precision(elements: impl Iterator<Item = TensorElementType>) -> Precision {
    elements.fold(Precision::F32, |coarsest, element| match (element, coarsest) {
        (TensorElementType::Bfloat16, _) | (_, Precision::BF16) => Precision::BF16,
        (TensorElementType::Float16, _) | (_, Precision::F16) => Precision::F16,
        _ => Precision::F32,
    })
}

/// Integers of the element type that an input has: `i32`, or else `i64`.
fn integers_as<const N: usize>(
    element: TensorElementType,
    shape: [usize; N],
    data: Vec<i64>,
) -> Result<DynValue> {
    match element {
        TensorElementType::Int32 => value(shape, data.into_iter().map(|number| number as i32).collect()),
        _ => integers(shape, data),
    }
}
