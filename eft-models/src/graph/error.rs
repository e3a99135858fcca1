//! [`GraphError`]: why a graph cannot be used as an engine.

/// Why a graph cannot be used as an engine. Differences and bounds are root mean squares over the vocabulary, in
/// standard deviations of the logits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The logits are NaN or infinite.
    #[error("the model's logits are not finite")]
    NotFinite,
    /// The logits at a position depend on the tokens after it.
    #[error(
        "the model's logits at a position change by {difference:.1e} standard deviations with the tokens after it, \
         while rounding explains at most {bound:.1e}: it is not a causal decoder"
    )]
    NotCausal {
        /// The difference that was measured.
        difference: f32,
        /// The largest difference that is accepted.
        bound: f32,
    },
    /// The logits over the cache are not those of the same tokens in one pass.
    #[error(
        "the model's logits over its cache differ by {difference:.1e} standard deviations from those of the same tokens \
         in one pass, while rounding explains at most {bound:.1e}: the export is wrong, or its precision is coarser \
         than declared"
    )]
    Cache {
        /// The difference that was measured.
        difference: f32,
        /// The largest difference that is accepted.
        bound: f32,
    },
    /// The graph failed, or the vocabulary does not fit it.
    #[error(transparent)]
    Core(#[from] eft_core::Error),
}
