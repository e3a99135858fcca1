use super::{Rule, convex};
use crate::backend::{Backend, Pool, ScoreRow, Term};
use crate::{Error, Result, Source};

/// `π ∝ (Σ wᵢ·πᵢ^{−α})^{−1/α}`: multi-objective decoding under an α-divergence.
///
/// α = 1 (forward KL) is the harmonic mean, α → 0 the geometric mean ([`weighted`](super::weighted), which α = 0
/// gives), α = −1 the [`mixture`](super::mixture). Shi et al. 2024 (MOD), arXiv 2406.18853.
///
/// # Errors
/// [`Error::InvalidParameter`] unless α is finite and the weights are convex.
pub fn power_mean<'a, B: Backend>(
    terms: impl IntoIterator<Item = (f32, &'a Source<B>)>,
    alpha: f32,
) -> Result<Source<B>> {
    let (weights, parts): (Vec<_>, Vec<_>) = terms.into_iter().map(|(w, s)| (w, s.clone())).unzip();
    convex(&weights)?;
    if !alpha.is_finite() {
        return Err(Error::parameter("alpha", alpha, "a finite number"));
    }
    if alpha == 0.0 {
        return Ok(Source::sum(weights.into_iter().zip(parts).collect()));
    }
    Pooled::source(format!("power_mean[α={alpha}]{weights:?}"), Pool::Power(-alpha), weights, parts)
}

/// The rule behind every elementwise pool.
pub(super) struct Pooled {
    name: String,
    pool: Pool,
    weights: Vec<f32>,
}

impl Pooled {
    /// A part of weight zero has no say, and is not run.
    pub(super) fn source<B: Backend>(
        name: impl Into<String>,
        pool: Pool,
        weights: Vec<f32>,
        parts: Vec<Source<B>>,
    ) -> Result<Source<B>> {
        let (weights, parts) = weights.into_iter().zip(parts).filter(|(w, _)| *w > 0.0).unzip();
        Source::rule(Self { name: name.into(), pool, weights }, Vec::<Source<B>>::from_iter::<Vec<_>>(parts))
    }
}

impl<B: Backend> Rule<B> for Pooled {
    fn name(&self) -> String {
        self.name.clone()
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
