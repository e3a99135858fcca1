use super::checks::{convex, finite};
use crate::backend::{Backend, Pool, ScoreRow, Term};
use crate::source::Rule;
use crate::{Result, Source};

/// Returns `π ∝ (Σ wᵢ·πᵢ^{−α})^{−1/α}`: multi-objective decoding under an α-divergence.
///
/// α = 1 (forward KL) is the harmonic mean, α = 0 the geometric mean ([`weighted`](super::weighted)), and α = −1 the
/// [`mixture`](super::mixture). Shi et al. 2024 (MOD), arXiv 2406.18853.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (helpful, harmless) = (model("helpful"), model("harmless"));
/// let both = combine::power_mean([(0.5, &helpful), (0.5, &harmless)], 1.0)?;
/// assert_eq!(both.to_string(), "power_mean(0.5: helpful, 0.5: harmless, alpha=1)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// * [`Error::Shape`](crate::Error::Shape) if there are no terms.
/// * [`Error::InvalidParameter`](crate::Error::InvalidParameter) unless α and the weights are finite, no weight is
///   below 0, and their sum is 1.
pub fn power_mean<'a, B: Backend>(
    terms: impl IntoIterator<Item = (f32, &'a Source<B>)>,
    alpha: f32,
) -> Result<Source<B>> {
    let (weights, parts): (Vec<_>, Vec<_>) = terms.into_iter().map(|(w, s)| (w, s.clone())).unzip();
    convex(&weights)?;
    finite("alpha", alpha)?;
    if alpha == 0.0 {
        return Ok(Source::sum(weights.into_iter().map(f64::from).zip(parts).collect()));
    }
    let settings = vec![("alpha", alpha.to_string())];
    Pooled { shares: true, settings, ..Pooled::new("power_mean", Pool::Power(-alpha)) }.source(weights, parts)
}

/// The rule of all elementwise pools.
pub(super) struct Pooled {
    pub(super) name: &'static str,
    pub(super) pool: Pool,
    pub(super) weights: Vec<f32>,
    /// Whether the weights are printed.
    pub(super) shares: bool,
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Pooled {
    pub(super) fn new(name: &'static str, pool: Pool) -> Self {
        Self { name, pool, weights: Vec::new(), shares: false, settings: Vec::new() }
    }

    /// A source of the rule with these weights. Leaves out parts of weight 0: they would run for nothing.
    pub(super) fn source<B: Backend>(self, weights: Vec<f32>, parts: Vec<Source<B>>) -> Result<Source<B>> {
        let (weights, parts): (_, Vec<_>) = weights.into_iter().zip(parts).filter(|(w, _)| *w > 0.0).unzip();
        Source::rule(Self { weights, ..self }, parts)
    }
}

impl<B: Backend> Rule<B> for Pooled {
    fn name(&self) -> String {
        self.name.into()
    }

    fn share(&self, part: usize) -> Option<f32> {
        self.weights.get(part).copied().filter(|_| self.shares)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let terms: Vec<_> = self
            .weights
            .iter()
            .zip(parts)
            .map(|(&weight, rows)| Term { weight, rows: rows.clone() })
            .collect();
        backend.pool(&terms, self.pool, width)
    }
}
