//! What a model's cache can do, tried out with a few tokens.
use eft_core::TokenId;
use eft_core::backend::{Backend, score_rows};

use super::Graph;
use super::block::{Block, Way};
use super::engine::{GraphError, Settings};

type Result<T> = std::result::Result<T, GraphError>;

/// Differences within this part of the logits' deviation are rounding, also in half precision.
const ROUNDING: f32 = 1e-2;

/// Differences within this part are those of a model whose activations are quantised as they come.
const QUANTISED: f32 = 0.3;

/// What was found out.
pub(super) struct Probed {
    /// Columns of the logits.
    pub(super) width: usize,
    pub(super) way: Way,
}

/// Runs the same tokens at once, over a cache, and over a cache with holes.
pub(super) fn probe<G: Graph>(graph: &G, settings: &Settings) -> Result<Probed> {
    let (traits, most, room) = (graph.caps(), settings.pass, settings.context);
    // Any model has token 0. How many others there are, its logits tell.
    let width = Prober { graph, width: 1 }.run(&[(&[0], 1)])?.len();
    let prober = Prober { graph, width };
    let expected = prober.run(&[(&[0, 1, 2, 3], 4)])?;
    let deviation = deviation(&expected);
    if !deviation.is_finite() {
        return Err(wrong("gives logits that are not finite"));
    }
    let near = |steps: &[Step<'_>], bound: f32| -> Result<bool> {
        let logits = prober.run(steps)?;
        let largest = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Not so if it is NaN.
        Ok(logits.iter().all(|x| x.is_finite()) && largest <= bound * deviation)
    };
    if !traits.cached {
        return Ok(Probed { width, way: Way { holes: false, several: true, room, most } });
    }
    let several = near(&[(&[0], 1), (&[1, 2, 3], 4)], QUANTISED)?;
    if !several && !near(&[(&[0], 1), (&[1], 2), (&[2], 3), (&[3], 4)], QUANTISED)? {
        return Err(wrong("gives other logits over a cache than for the same tokens at once"));
    }
    let may = several && !settings.slides && !traits.one_row && traits.masked;
    let holes = may && near(&[(&[0, 4, 4], 1), (&[1, 5], 2), (&[2, 3], 4)], ROUNDING)?;
    Ok(Probed { width, way: Way { holes, several, room, most } })
}

/// Tokens to be fed, by number, and how many there are once those that were not meant are dropped again.
type Step<'a> = (&'a [usize], usize);

struct Prober<'a, G> {
    graph: &'a G,
    /// Columns of the logits.
    width: usize,
}

impl<G: Graph> Prober<'_, G> {
    /// The logits after the last token.
    fn run(&self, steps: &[Step<'_>]) -> Result<Vec<f32>> {
        let mut block = Block::new(1);
        let mut last = Vec::new();
        for (tokens, length) in steps {
            // Spread over the vocabulary: the first ones are often alike, being special.
            let token = |number: &usize| ((number + 1) * (self.width - 1) / 7) as TokenId;
            let ids: Vec<_> = tokens.iter().map(token).collect();
            let logits = block.pass(self.graph, &[&ids], 1)?;
            block.truncate(0, *length);
            if let Some((logits, kept)) = logits {
                let backend = self.graph.backend();
                let columns = backend.shape(&logits).1;
                last = backend.download(&score_rows(&logits, kept)[kept - 1..], columns)?;
            }
        }
        Ok(last)
    }
}

/// Of numbers from their mean.
fn deviation(numbers: &[f32]) -> f32 {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    (squares / count).sqrt() as f32
}

fn wrong(problem: &str) -> GraphError {
    GraphError::Cache { problem: problem.into() }
}
