//! [`Decoder`]: one pass of a model.
use std::path::PathBuf;
use std::sync::Arc;

use eft_core::{Error, Result};
use eft_models::graph::{ForwardInput, ForwardOutput, Graph, GraphCaps, Precision, SlotSelection};
use ort::memory::Allocator;
use ort::value::{DynTensor, DynValue, TensorElementType};

use super::gather::Gather;
use super::interface::Interface;
use crate::backend::runner::Runner;
use crate::backend::{integers, to_error, value};
use crate::{Ort, Tensor};

/// A model, with what is known of it.
pub(super) struct Decoder {
    pub(super) file: PathBuf,
    pub(super) ort: Ort,
    pub(super) runner: Runner,
    pub(super) interface: Interface,
    pub(super) gather: Gather,
}

/// A tensor of the cache. It never changes, so that several sessions may hold it.
pub(super) type CacheValue = Arc<DynValue>;

impl Decoder {
    /// Runs the model. `caches` may be empty if there are no slots.
    fn run(&self, pass: &ForwardInput, caches: &[CacheValue]) -> Result<ForwardOutput<Self>> {
        let ForwardInput { rows, tokens, slots, wanted, .. } = *pass;
        let interface = &self.interface;
        let (new, all) = ([rows, tokens], [rows, slots + tokens]);
        let mut inputs = vec![("input_ids", given(interface.ids, new, pass.ids.clone())?)];
        if let Some(element) = interface.mask {
            inputs.push(("attention_mask", given(element, all, pass.mask.clone())?));
        }
        if let Some(element) = interface.positions {
            inputs.push(("position_ids", given(element, new, pass.positions.clone())?));
        }
        if interface.branch {
            inputs.push(("use_cache_branch", value([1], vec![slots > 0])?));
        }
        let kept = match interface.keep {
            None => tokens,
            Some((element, dimension)) => {
                let count = vec![wanted.max(1) as i64];
                let count = if dimension { given(element, [1], count)? } else { given(element, [], count)? };
                inputs.push(("num_logits_to_keep", count));
                wanted.max(1)
            }
        };
        let none = if caches.is_empty() { self.no_cache(rows)? } else { Vec::new() };
        let caches = if caches.is_empty() { &none } else { caches };
        let past = interface.caches.iter().zip(caches).map(|(cache, value)| (cache.past.as_str(), &**value));
        let inputs = inputs.iter().map(|(name, value)| (*name, value)).chain(past);

        let device = &self.ort.places().device;
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

    /// The cache of rows without tokens.
    fn no_cache(&self, rows: usize) -> Result<Vec<CacheValue>> {
        let allocator = Allocator::default();
        let empty = |cache: &super::interface::Cache| {
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

/// Integers of the type that an input has.
fn given<const N: usize>(element: TensorElementType, shape: [usize; N], data: Vec<i64>) -> Result<DynValue> {
    match element {
        TensorElementType::Int32 => value(shape, data.into_iter().map(|number| number as i32).collect()),
        _ => integers(shape, data),
    }
}
