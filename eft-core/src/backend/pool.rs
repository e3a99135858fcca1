#[cfg(doc)]
use super::Backend;

/// How [`Backend::pool`] merges rows of log-probabilities `xₖ` with weights `wₖ > 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pool {
    /// `(1/p)·log Σₖ wₖ·exp(p·xₖ)` for a finite `p ≠ 0`: the weighted power mean of the probabilities. `p = 1` is
    /// the mixture, `p = −1` the harmonic mean. A token with −∞ in some row is −∞ for negative `p`.
    Power(f32),
    /// The largest entry; weights do not count.
    Max,
    /// The smallest entry; weights do not count.
    Min,
}
