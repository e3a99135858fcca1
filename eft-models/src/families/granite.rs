//! Granite: Llama with four factors, of the embeddings, attention scores, residual stream and logits.
use super::llama::{self, Details};
use crate::Result;
use crate::config::Config;
use crate::spec::DecoderSpec;

pub(super) fn granite(config: &Config<'_>) -> Result<DecoderSpec> {
    let factor = |field: &str| Ok::<_, crate::Error>(config.number_or(field, 1.0)? as f32);
    let (attention, residual) = (factor("attention_multiplier")?, factor("residual_multiplier")?);
    let divisor = factor("logits_scaling")?;
    if divisor == 0.0 {
        return Err(config.error("logits_scaling", "is 0; logits are divided by it"));
    }
    let mut spec = llama::decoder(config, Details::with_biases(config)?)?;
    for layer in &mut spec.layers {
        layer.attention.scale = attention;
        layer.residual_scale = residual;
    }
    Ok(DecoderSpec { embedding_scale: factor("embedding_multiplier")?, logit_scale: 1.0 / divisor, ..spec })
}
