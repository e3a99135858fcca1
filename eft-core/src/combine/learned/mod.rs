//! Mixtures whose weights depend on how sure each source is.
mod features;
mod weights;

pub use features::MixtureFeatures;
pub use weights::{Layer, MixtureWeights};

use crate::backend::{Backend, Pool, ScoreRow, Term, score_rows};
use crate::source::Rule;
use crate::{Error, Result, Source};

/// Returns `log Σ wᵢ·πᵢ` with weights that are computed for every token from the sources' distributions: see
/// [`MixtureWeights`].
///
/// Each position costs a pool of its own; positions that follow each other and have equal weights share one.
/// Ormazabal et al. 2023 (CombLM), arXiv 2305.16876, §2.2. The module `mixture` of the crate `eft-eval` fits the weights.
///
/// ```
/// use eft_core::combine::{self, Layer, MixtureFeatures, MixtureWeights};
/// # use eft_core::{Host, Vocab, from_fn};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (general, medical) = (model("general"), model("medical"));
/// // The surer a source is, the larger is its weight: softmax(−entropies).
/// let surest = Layer { weights: vec![vec![-1.0, 0.0], vec![0.0, -1.0]], bias: vec![0.0, 0.0] };
/// let weights = MixtureWeights::new(2, MixtureFeatures::entropies(), vec![surest])?;
/// let mixed = combine::learned_mixture(weights, [&general, &medical])?;
/// assert_eq!(mixed.to_string(), "learned_mixture(general, medical, weights=…)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the weights are for another number of sources.
pub fn learned_mixture<'a, B: Backend>(
    weights: MixtureWeights,
    parts: impl IntoIterator<Item = &'a Source<B>>,
) -> Result<Source<B>> {
    let parts: Vec<_> = parts.into_iter().cloned().collect();
    if parts.len() != weights.sources() {
        return Err(Error::shape("parts of learned_mixture", weights.sources(), parts.len()));
    }
    Source::rule(LearnedMixture { weights }, parts)
}

struct LearnedMixture {
    weights: MixtureWeights,
}

impl<B: Backend> Rule<B> for LearnedMixture {
    fn name(&self) -> String {
        "learned_mixture".into()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("weights", "…".into())]
    }

    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
        let features = self.weights.features().of(backend, parts, width)?;
        let weights: Vec<Vec<f32>> = features
            .iter()
            .map(|row| self.weights.of(row).into_iter().map(|weight| weight as f32).collect())
            .collect();
        let (mut merged, mut done) = (Vec::new(), 0);
        for run in weights.chunk_by(|a, b| a == b) {
            // A weight that rounds to 0 leaves its part out.
            let terms: Vec<_> = parts
                .iter()
                .zip(&run[0])
                .filter(|(_, weight)| **weight > 0.0)
                .map(|(rows, &weight)| Term { weight, rows: rows[done..done + run.len()].to_vec() })
                .collect();
            merged.push((backend.pool(&terms, Pool::Power(1.0), width)?, run.len()));
            done += run.len();
        }
        if merged.len() == 1 {
            return Ok(merged.remove(0).0);
        }
        let rows = merged.iter().flat_map(|(tensor, rows)| score_rows::<B>(tensor, *rows)).collect();
        backend.linear(&[Term { weight: 1.0, rows }], width)
    }
}
