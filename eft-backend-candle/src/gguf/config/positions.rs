//! The scaling of rotary positions, by which models are extended to longer contexts.
use eft_models::spec::Temperature;
use eft_models::{DecoderSpec, Error, Result};
use serde_json::{Map, Value};

use super::Reader;

const LONG: &str = "rope_factors_long.weight";
const SHORT: &str = "rope_factors_short.weight";

impl Reader<'_> {
    /// Adds the scaling of rotary positions to a configuration.
    pub(super) fn scaling(&self, config: &mut Map<String, Value>) -> Result<()> {
        const KIND: &str = "rope.scaling.type";
        let kind = self.metadata.text(&self.key(KIND))?;
        let factor = match self.number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.number("rope.scale_linear")?,
        };
        let mut scaling = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            value.is_some_and(|value| scaling.insert(name.into(), value).is_none())
        };
        if self.has(LONG) || self.has(SHORT) {
            put("rope_type", Some("longrope".into()));
            put("long_factor", Some(self.factors(LONG)?.into()));
            put("short_factor", Some(self.factors(SHORT)?.into()));
            put("attention_factor", self.number("rope.scaling.attn_factor")?);
            put("original_max_position_embeddings", self.number(ORIGINAL)?);
        } else {
            match (kind, factor) {
                // Older files give only a factor, which is linear.
                (Some("linear") | None, Some(factor)) if factor.as_f64() != Some(0.0) => {
                    put("rope_type", Some("linear".into()));
                    put("factor", Some(factor));
                }
                (Some("none" | "linear" | "longrope") | None, _) => return Ok(()),
                (Some("yarn"), factor) => {
                    const SHARE: &str = "rope.scaling.yarn_ext_factor";
                    if self.number(SHARE)?.is_some_and(|share| share.as_f64() != Some(1.0)) {
                        let reason = "is not 1: other shares of extrapolation are not supported";
                        return Err(self.metadata.wrong(&self.key(SHARE), reason));
                    }
                    put("rope_type", Some("yarn".into()));
                    put("factor", factor);
                    put("original_max_position_embeddings", self.number(ORIGINAL)?);
                    put("beta_fast", self.number("rope.scaling.yarn_beta_fast")?);
                    put("beta_slow", self.number("rope.scaling.yarn_beta_slow")?);
                    put("attention_factor", self.number("rope.scaling.yarn_attn_factor")?);
                    if let Some(all) = self.number("rope.scaling.yarn_log_multiplier")? {
                        put("mscale", Some(1.0.into()));
                        put("mscale_all_dim", Some(all));
                    }
                }
                (Some(other), _) => {
                    let reason = format!("is `{other}`; supported are none, linear, yarn, longrope");
                    return Err(self.metadata.wrong(&self.key(KIND), reason));
                }
            }
        }
        config.insert("rope_scaling".into(), scaling.into());
        Ok(())
    }

    /// The numbers of a tensor of factors, one for each pair of channels that rotates.
    fn factors(&self, name: &str) -> Result<Vec<f32>> {
        let Some(shape) = self.tensors.shape(name) else {
            let (file, tensor) = (self.metadata.file.clone(), name.into());
            return Err(Error::BadTensor { file, tensor, reason: "is missing".into() });
        };
        let raw = self.tensors.read(name, shape, true)?;
        Ok(raw.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Applies the factors of rotary frequencies that files of Llama 3.1 hold as a tensor.
    pub(super) fn stretch(&self, spec: &mut DecoderSpec) -> Result<()> {
        let name = "rope_freqs.weight";
        if !self.has(name) {
            return Ok(());
        }
        let factors = self.factors(name)?;
        for rope in spec.layers.iter_mut().filter_map(|layer| layer.attention.rope.as_mut()) {
            let Some(stretched) = rope.clone().with_frequency_divisors(&factors) else {
                let (file, tensor) = (self.metadata.file.clone(), name.into());
                let reason = format!(
                    "does not hold one positive factor for each of {} pairs of channels",
                    rope.dim() / 2
                );
                return Err(Error::BadTensor { file, tensor, reason });
            };
            *rope = stretched;
        }
        Ok(())
    }

    /// Lets queries grow with their position, where the file says so: from the original context on.
    pub(super) fn grow(&self, spec: &mut DecoderSpec) -> Result<()> {
        let scale = self.metadata.number(&self.key("attention.temperature_scale"))?;
        let Some(scale) = scale.filter(|scale| *scale != 0.0) else { return Ok(()) };
        let original = self.metadata.whole(&self.key(ORIGINAL))?.and_then(|size| usize::try_from(size).ok());
        let every = original.filter(|size| *size > 0);
        let every = every.ok_or_else(|| self.metadata.wrong(&self.key(ORIGINAL), "is missing, or 0"))?;
        let temperature = Temperature { scale: scale as f32, every, first: 0 };
        spec.layers.iter_mut().for_each(|layer| layer.attention.temperature = Some(temperature));
        Ok(())
    }
}

/// The field of the context that a model had before it was extended.
const ORIGINAL: &str = "rope.scaling.original_context_length";
