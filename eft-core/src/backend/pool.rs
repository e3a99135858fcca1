#[cfg(doc)]
use super::Backend;

/// A way to merge score rows `xₖ` of log-probabilities with weights `wₖ`, entry by entry: see [`Backend::pool`].
///
/// ```
/// use eft_core::backend::score_rows;
/// use eft_core::{Backend, Host, Pool, Term};
///
/// let (a, b) = (Host.upload(&[-1.0, -2.0], 2)?, Host.upload(&[-3.0, -0.5], 2)?);
/// let terms = [&a, &b].map(|tensor| Term { weight: 0.5, rows: score_rows::<Host>(tensor, 1) });
/// let best = Host.pool(&terms, Pool::Max, 2)?;
/// assert_eq!(Host.download(&score_rows(&best, 1), 2)?, [-1.0, -0.5]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pool {
    /// `(1/p)·log Σₖ wₖ·exp(p·xₖ)` for a finite `p ≠ 0` and weights above zero: the weighted power mean of the
    /// probabilities. `p = 1` is the mixture, `p = −1` the harmonic mean. For negative `p`, a token with −∞ in any row
    /// has −∞ in the result.
    Power(f32),
    /// The largest entry. Weights are ignored.
    Max,
    /// The smallest entry. Weights are ignored.
    Min,
}
