//! [`Heads`]: the shape of an attention layer.
use eft_models::spec::{AttentionSpec, Reach};

/// The shape and the settings of an attention layer: those of an [`AttentionSpec`] that the computation needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads<'a> {
    /// The number of query heads.
    pub heads: usize,
    /// The number of key-value heads, which divides `heads`.
    pub kv_heads: usize,
    /// The width of a head.
    pub head_dim: usize,
    /// The factor that products of queries and keys are multiplied by.
    pub scale: f32,
    /// The soft cap of the attention scores, `cap·tanh(score / cap)`; `None` without one.
    pub softcap: Option<f32>,
    /// How far back a query attends.
    pub reach: Reach,
    /// The logit of each query head's sink: see [`AttentionSpec::sinks`]. `None` without sinks.
    pub sinks: Option<&'a [f32]>,
}

impl From<&AttentionSpec> for Heads<'_> {
    /// The settings of the layer, without sinks: their logits are weights.
    fn from(spec: &AttentionSpec) -> Self {
        let AttentionSpec { heads, kv_heads, head_dim, scale, softcap, .. } = *spec;
        Self { heads, kv_heads, head_dim, scale, softcap, reach: spec.reach(), sinks: None }
    }
}
