//! [`Script`]: a TorchScript module as a [`Graph`].
use std::path::Path;

use eft_core::{Error, Result};
use eft_models::graph::{ForwardInput, ForwardOutput, Graph, GraphCaps, Precision, SlotSelection};
use tch::{CModule, IValue, Kind, TchError, Tensor, no_grad_guard};

use super::error::ScriptError;
use crate::backend::{concise, integers, sent};
use crate::{Torch, to_error};

pub(super) struct Script {
    /// The name of the model, for messages.
    name: String,
    module: CModule,
    torch: Torch,
    cached: bool,
    precision: Precision,
}

/// The tensors that a module returns as `present` and takes as `past`.
pub(super) struct Caches(Vec<Tensor>);

impl Clone for Caches {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(Tensor::shallow_clone).collect())
    }
}

impl Script {
    pub(super) fn load(file: &Path, name: String, torch: Torch) -> std::result::Result<Self, ScriptError> {
        let unreadable = |source| ScriptError::Unreadable { file: file.into(), source: concise(source) };
        // libtorch's own message for a missing file is a page of C++.
        std::fs::File::open(file).map_err(|source| unreadable(source.into()))?;
        let mut module = CModule::load_on_device(file, torch.device()).map_err(unreadable)?;
        module.f_set_eval().map_err(unreadable)?;
        let mut script = Self { name, module, torch, cached: false, precision: Precision::F32 };
        let one = ForwardInput {
            rows: 1,
            tokens: 1,
            slots: 0,
            ids: vec![0],
            mask: vec![1],
            positions: vec![0],
            wanted: 1,
        };
        let tried = script.run(&one, None);
        let tried = tried
            .map_err(|error| ScriptError::Convention { file: file.into(), source: Box::new(error.into()) })?;
        script.precision = tried.1.iter().flat_map(|caches| &caches.0).chain([&tried.0]).fold(
            Precision::F32,
            |coarsest, tensor| match (tensor.kind(), coarsest) {
                (Kind::BFloat16, _) | (_, Precision::BF16) => Precision::BF16,
                (Kind::Half, _) | (_, Precision::F16) => Precision::F16,
                _ => Precision::F32,
            },
        );
        script.cached = tried.1.is_some();
        Ok(script)
    }

    /// The size of the weights in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let size =
            |tensor: &Tensor| tensor.f_kind().map_or(0, |kind| tensor.numel() * kind.elt_size_in_bytes());
        self.module.named_parameters().map_or(0, |all| all.iter().map(|(_, t)| size(t) as u64).sum())
    }

    /// Calls the module. Returns logits, rows × tokens × vocabulary, and the next `past`; `None` if it has no tensors.
    fn run(&self, pass: &ForwardInput, past: Option<&Caches>) -> Result<(Tensor, Option<Caches>)> {
        let _guard = no_grad_guard();
        let (rows, tokens) = (pass.rows as i64, pass.tokens as i64);
        let matrix = |numbers: &[i64], columns: i64| {
            sent(&Tensor::f_from_slice(numbers)?.f_view([rows, columns])?, self.torch.device())
        };
        let inputs = || {
            Ok::<_, TchError>([
                IValue::Tensor(matrix(&pass.ids, tokens)?),
                IValue::Tensor(matrix(&pass.positions, tokens)?),
                IValue::Tensor(matrix(&pass.mask, pass.slots as i64 + tokens)?.f_totype(Kind::Bool)?),
                IValue::TensorList(past.map_or_else(Vec::new, |past| past.clone().0)),
            ])
        };
        let outputs = inputs().and_then(|inputs| self.module.forward_is(&inputs)).map_err(to_error)?;
        let (logits, present) = match outputs {
            IValue::Tensor(logits) => (logits, Vec::new()),
            IValue::Tuple(outputs) => match <[IValue; 2]>::try_from(outputs) {
                Ok([IValue::Tensor(logits), IValue::TensorList(present)]) => (logits, present),
                Ok(_) => return Err(self.wrong("a tensor and a list of tensors", "something else")),
                Err(outputs) => return Err(self.wrong("two outputs", &outputs.len().to_string())),
            },
            _ => return Err(self.wrong("logits, or a tuple of logits and caches", "something else")),
        };
        match logits.size()[..] {
            [r, t, width] if (r, t) == (rows, tokens) && width > 0 => {}
            ref found => {
                let expected = format!("logits of {rows} × {tokens} × the vocabulary");
                return Err(self.wrong(&expected, &format!("{found:?}")));
            }
        }
        let slots = pass.slots as i64 + tokens;
        for cache in &present {
            match cache.size()[..] {
                [r, _, s, _] if (r, s) == (rows, slots) => {}
                ref found => {
                    let expected = format!("caches of {rows} × heads × {slots} × width");
                    return Err(self.wrong(&expected, &format!("{found:?}")));
                }
            }
        }
        Ok((logits, if present.is_empty() { None } else { Some(Caches(present)) }))
    }

    fn wrong(&self, expected: &str, found: &str) -> Error {
        Error::shape(format!("what `forward` of {} gave", self.name), expected, found)
    }
}

impl Graph for Script {
    type Backend = Torch;
    type Caches = Caches;

    fn backend(&self) -> &Torch {
        &self.torch
    }

    fn caps(&self) -> GraphCaps {
        GraphCaps { cached: self.cached, masked: true, one_row: false, precision: self.precision }
    }

    fn forward(&self, pass: &ForwardInput, caches: Option<&Caches>) -> Result<ForwardOutput<Self>> {
        let (logits, caches) = self.run(pass, caches)?;
        if self.cached && caches.is_none() {
            return Err(self.wrong("caches, as at first", "none"));
        }
        let kept = pass.wanted;
        let rows = || {
            let (tokens, width) = (pass.tokens as i64, logits.size()[2]);
            logits.f_narrow(1, tokens - kept as i64, kept as i64)?.f_reshape([-1, width])
        };
        let logits = if kept > 0 { Some((rows().map_err(to_error)?, kept)) } else { None };
        Ok(ForwardOutput { logits, caches })
    }

    fn gather(&self, caches: &Caches, _: usize, picked: &[SlotSelection]) -> Result<Caches> {
        let _guard = no_grad_guard();
        let (rows, count) =
            (picked.len() as i64, picked.first().map_or(0, |picked| picked.slots.len()) as i64);
        let gathered = || {
            let device = self.torch.device();
            let from = integers(picked.iter().map(|picked| picked.row), device)?;
            let slots = integers(picked.iter().flat_map(|picked| picked.slots.iter().copied()), device)?;
            let slots = slots.f_view([rows, 1, count, 1])?;
            let gather = |cache: &Tensor| {
                let of_rows = cache.f_index_select(0, &from)?;
                let (_, heads, _, width) = of_rows.size4()?;
                of_rows.f_gather(2, &slots.f_expand([rows, heads, count, width], false)?, false)
            };
            caches.0.iter().map(gather).collect::<std::result::Result<_, TchError>>()
        };
        Ok(Caches(gathered().map_err(to_error)?))
    }
}
