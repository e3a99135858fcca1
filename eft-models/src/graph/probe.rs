//! Tests with a few tokens what a graph's caches support, when the graph is loaded.
//!
//! The same tokens are run in one pass, over a cache, and over a cache with masked slots. The logits after the last one
//! are compared: their root mean square difference, in standard deviations of the logits, must be explained by
//! rounding.
use eft_core::TokenId;
use eft_core::backend::{Backend, score_rows};

use super::error::GraphError;
use super::interface::{Graph, Precision};
use super::plan::CachePlan;
use super::settings::GraphSettings;
use super::shared_cache::SharedCache;

type Result<T> = std::result::Result<T, GraphError>;

/// Roundings in series between the embedding and the logits: four in each of 64 layers.
const DEPTH: f32 = 256.0;

/// Terms of a dot product. Those of 16-bit numbers are summed in 32 bits, so this counts for 32 bits only.
const WIDTH: f32 = 4096.0;

/// A difference larger than this multiple of the difference that rounding explains is an error. A smaller one, above
/// the explained difference, is a warning.
const TOLERATED: f32 = 4.0;

/// How much a position's logits may vary with the tokens after it. Graphs that quantise activations as they come do
/// vary, since the range of a tensor depends on all of a pass's tokens: by a step of 1/255 of a range of 16 standard
/// deviations, which is an error of 0.018 (step / √12), in each of 64 layers.
const MAX_NOISE: f32 = 0.15;

/// The result of the test.
#[derive(Debug)]
pub(super) struct Probed {
    /// The number of columns of the logits.
    pub(super) width: usize,
    pub(super) plan: CachePlan,
    /// A difference that is larger than rounding explains, but not so large that the graph is refused.
    pub(super) warning: Option<String>,
}

impl Precision {
    /// The difference that rounding explains, in standard deviations of the logits: `u·√n` for `n` roundings with unit
    /// roundoff `u`, since errors of random sign add up as a random walk (Higham and Mary 2019, A New Approach to
    /// Probabilistic Rounding Error Analysis).
    fn rounding(self) -> f32 {
        match self {
            Self::F32 => 2.0f32.powi(-24) * (DEPTH * WIDTH).sqrt(),
            Self::F16 => 2.0f32.powi(-11) * DEPTH.sqrt(),
            Self::BF16 => 2.0f32.powi(-8) * DEPTH.sqrt(),
        }
    }
}

/// Tests how the caches of a graph can be used.
pub(super) fn probe<G: Graph>(graph: &G, settings: &GraphSettings) -> Result<Probed> {
    let caps = graph.caps();
    // Every vocabulary has a token 0. The logits after it say how large the vocabulary is.
    let width = Prober { graph, width: 1 }.run(&[(&[0], 1)])?.len();
    let prober = Prober { graph, width };
    let expected = prober.run(&[(&[0, 1, 2, 3], 4)])?;
    let deviation = deviation(&expected);
    if !deviation.is_finite() {
        return Err(GraphError::NotFinite);
    }
    let differs =
        |steps: &[Step<'_>]| Ok::<_, GraphError>(difference(&prober.run(steps)?, &expected, deviation));
    let rounding = caps.precision.rounding();
    let noise = match settings.context {
        Some(..6) => 0.0,
        _ => difference(&prober.followed(&[0, 1, 2, 3], &[4, 5])?, &expected, deviation),
    };
    let most = MAX_NOISE.max(TOLERATED * rounding);
    if noise > most {
        return Err(GraphError::NotCausal { difference: noise, bound: most });
    }
    let mut plan = CachePlan {
        masked_slots: false,
        multi_token: true,
        max_slots: settings.context,
        max_tokens: settings.max_tokens,
    };
    if !caps.cached {
        return Ok(Probed { width, plan, warning: None });
    }
    // The noise is a sample of a single pair of passes, so others may differ by a few times as much.
    let (bound, limit) = (rounding.max(3.0 * noise), (TOLERATED * rounding).max(6.0 * noise));
    let at_once = differs(&[(&[0], 1), (&[1, 2, 3], 4)])?;
    let found = if at_once <= bound {
        at_once
    } else {
        let one_by_one = differs(&[(&[0], 1), (&[1], 2), (&[2], 3), (&[3], 4)])?;
        plan.multi_token = one_by_one > bound && at_once <= limit;
        if plan.multi_token { at_once } else { one_by_one }
    };
    if found > limit {
        return Err(GraphError::Cache { difference: found, bound: limit });
    }
    let warning = (found > bound).then(|| {
        format!(
            "logits over the cache differ by {found:.1e} standard deviations from those of the same tokens in one pass, \
             while rounding explains {bound:.1e}: check the export"
        )
    });
    // The noise is not added to the bound here: in a graph with quantised activations, other rows of a pass change a
    // row's logits, so its rows must run separately.
    let may_mask = plan.multi_token && !settings.sliding_window && !caps.one_row && caps.masked;
    plan.masked_slots = may_mask && differs(&[(&[0, 4, 4], 1), (&[1, 5], 2), (&[2, 3], 4)])? <= rounding;
    Ok(Probed { width, plan, warning })
}

/// Tokens to be fed, by number, and the length that the row is truncated to afterwards.
type Step<'a> = (&'a [usize], usize);

struct Prober<'a, G> {
    graph: &'a G,
    /// The number of columns of the logits.
    width: usize,
}

impl<G: Graph> Prober<'_, G> {
    /// The logits after the last token of the last step.
    fn run(&self, steps: &[Step<'_>]) -> Result<Vec<f32>> {
        let mut cache = SharedCache::new(1);
        let mut last = Vec::new();
        for (tokens, length) in steps {
            last = self.forward(&mut cache, tokens, 0)?;
            cache.truncate(0, *length);
        }
        Ok(last)
    }

    /// The logits after the last of `tokens`, in a pass in which others follow.
    fn followed(&self, tokens: &[usize], others: &[usize]) -> Result<Vec<f32>> {
        self.forward(&mut SharedCache::new(1), &[tokens, others].concat(), others.len())
    }

    /// Feeds tokens, and returns the logits `back` positions before the last.
    fn forward(&self, cache: &mut SharedCache<G>, tokens: &[usize], back: usize) -> Result<Vec<f32>> {
        // Spread over the vocabulary: the first ids are often special tokens, whose embeddings are alike.
        let token = |number: &usize| ((number + 1) * (self.width - 1) / 7) as TokenId;
        let ids: Vec<_> = tokens.iter().map(token).collect();
        let Some((logits, kept)) = cache.forward(self.graph, &[&ids], back + 1)? else {
            return Ok(Vec::new());
        };
        let backend = self.graph.backend();
        let columns = backend.shape(&logits).1;
        match score_rows(&logits, kept).get(kept.wrapping_sub(back + 1)..) {
            Some(rows) if !rows.is_empty() => Ok(backend.download(&rows[..1], columns)?),
            _ => Err(eft_core::Error::shape("positions of the logits", back + 1, kept).into()),
        }
    }
}

/// The root mean square of the differences of two vectors, over `deviation`; infinite unless all differences are finite
/// and the lengths equal.
fn difference(a: &[f32], b: &[f32], deviation: f32) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let rms = (squares / a.len().max(1) as f64).sqrt() as f32;
    match rms {
        0.0 => 0.0,
        _ if rms.is_finite() => rms / deviation,
        _ => f32::INFINITY,
    }
}

/// The standard deviation of numbers.
fn deviation(numbers: &[f32]) -> f32 {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    (squares / count).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fault, Toy};
    use super::*;

    fn probed(fault: Fault, precision: Precision) -> Result<Probed> {
        probe(&Toy { fault, precision }, &GraphSettings::new("toy"))
    }

    #[test]
    fn an_exact_cache_is_used_without_a_warning() {
        for precision in [Precision::F32, Precision::F16, Precision::BF16] {
            let Probed { width, plan, warning } = probed(Fault::None, precision).unwrap();
            assert_eq!((width, plan.multi_token, plan.masked_slots, warning), (16, true, true, None));
        }
    }

    #[test]
    fn a_cache_that_is_subtly_wrong_is_refused() {
        // A twentieth of a standard deviation: the bound was once 0.3, whatever the type.
        match probed(Fault::Cache(0.05), Precision::F32) {
            Err(error @ GraphError::Cache { difference, bound }) => {
                assert!((0.01..0.2).contains(&difference) && bound < 1e-3, "{difference}, {bound}");
                let (difference, bound) = (format!("{difference:.1e}"), format!("{bound:.1e}"));
                let message = error.to_string();
                assert!(message.contains(&difference) && message.contains(&bound), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert!(probed(Fault::Cache(0.5), Precision::F16).is_err());
        assert!(probed(Fault::Cache(1.0), Precision::BF16).is_err());
        assert!(probed(Fault::Cache(f32::NAN), Precision::F32).is_err());
    }

    #[test]
    fn differences_between_rounding_and_the_limit_are_warned_of() {
        for precision in [Precision::F32, Precision::F16, Precision::BF16] {
            let bound = precision.rounding();
            let warning =
                |part: f32| probed(Fault::Cache(part * bound), precision).map(|probed| probed.warning);
            assert_eq!(warning(0.5).unwrap(), None, "{precision:?}");
            assert!(warning(2.0).unwrap().unwrap().contains("over the cache"), "{precision:?}");
            assert!(warning(8.0).is_err(), "{precision:?}");
        }
    }

    #[test]
    fn graphs_that_take_one_token_over_a_cache_are_fed_one_by_one() {
        let plan = probed(Fault::SeveralTokens, Precision::F32).unwrap().plan;
        assert_eq!((plan.multi_token, plan.masked_slots), (false, false));
    }

    #[test]
    fn graphs_that_ignore_the_mask_get_a_cache_for_each_row() {
        let plan = probed(Fault::Mask, Precision::F32).unwrap().plan;
        assert_eq!((plan.multi_token, plan.masked_slots), (true, false));
    }

    #[test]
    fn graphs_that_look_ahead_are_refused() {
        assert!(matches!(probed(Fault::LooksAhead, Precision::F32), Err(GraphError::NotCausal { .. })));
    }

    #[test]
    fn noise_of_quantised_activations_is_allowed_for() {
        let Probed { plan, warning, .. } = probed(Fault::Noise(0.02), Precision::F32).unwrap();
        assert_eq!((plan.multi_token, plan.masked_slots, warning), (true, false, None));
    }
}
