use std::sync::Arc;

use super::processor::History;
use crate::backend::{Backend, Edit, Filter, Pick, ScoreRow, Term, score_rows};
use crate::{Result, TokenId};

/// Reshapes a distribution by looking at its likeliest tokens, usually by excluding some: after temperature, top-k, top-p
/// and min-p, before a token is drawn.
///
/// Unlike a [`Processor`](super::Processor), it sees probabilities, but only those of a few tokens: scores stay on their
/// device. It must depend on nothing but its arguments, because speculation and search visit positions again.
/// [`Decoding::truncation`](super::Decoding::truncation) adds one; greedy decoding ignores it.
///
/// ```
/// use eft_core::sample::{Cut, Truncation};
/// use eft_core::Pick;
///
/// /// Excludes all tokens but those that are at least half as likely as the second likeliest one.
/// struct Second;
///
/// impl Truncation for Second {
///     fn candidates(&self) -> usize {
///         2
///     }
///
///     fn cut(&self, likeliest: &[Pick], _uniform: f64) -> Cut {
///         match likeliest {
///             [first, second] => Cut::Below(0.5 * (second.log_prob - first.log_prob).exp()),
///             _ => Cut::Nothing,
///         }
///     }
/// }
/// ```
pub trait Truncation: Send + Sync {
    /// Returns how many of the likeliest tokens it looks at, at least 1. [`usize::MAX`] stands for all of them: this costs
    /// milliseconds if a wide vocabulary is not cut by top-k first.
    fn candidates(&self) -> usize;

    /// Decides which tokens are excluded from one distribution. `likeliest` are its likeliest tokens, likeliest first:
    /// fewer than requested if fewer have a probability above zero. `uniform` is a random number in [0, 1).
    fn cut(&self, likeliest: &[Pick], uniform: f64) -> Cut;

    /// [`cut`](Self::cut) for the token after those of a row, for truncations that depend on them. The prompt is not
    /// known. By default, they do not matter.
    fn cut_after(&self, history: &History<'_>, likeliest: &[Pick], uniform: f64) -> Cut {
        let _ = history;
        self.cut(likeliest, uniform)
    }
}

/// What a [`Truncation`] does to a distribution. At least one token must be left: a distribution without tokens is an error.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cut {
    /// Changes nothing.
    Nothing,
    /// Excludes these tokens.
    Tokens(Vec<TokenId>),
    /// Excludes all tokens that are less than this fraction as likely as the likeliest one.
    Below(f32),
    /// Excludes all tokens but these.
    Keep(Vec<TokenId>),
    /// Excludes nothing, and applies this temperature: a finite number above 0.
    Temperature(f32),
}

/// Applies a truncation to score rows, each with the tokens before it and its random number. Returns a tensor with one
/// row for each, or `None` if no distribution changes.
pub(super) fn truncated<B: Backend>(
    backend: &B,
    truncation: &dyn Truncation,
    rows: &[ScoreRow<'_, B>],
    places: &[(History<'_>, f64)],
    width: usize,
) -> Result<Option<B::Tensor>> {
    let likeliest = backend.top(rows, truncation.candidates().clamp(1, width), width)?;
    let cut = |(picks, (history, uniform)): (&Vec<Pick>, &(History<'_>, f64))| match picks.first() {
        // An unsound row is found when a token is drawn from it.
        Some(first) if !first.log_prob.is_nan() => truncation.cut_after(history, picks, *uniform),
        _ => Cut::Nothing,
    };
    let cuts: Vec<_> = likeliest.iter().zip(places).map(cut).collect();
    if cuts.iter().all(|cut| *cut == Cut::Nothing) {
        return Ok(None);
    }
    // Rows with different bounds are filtered one by one, and then put together.
    let single = |(row, cut): (&ScoreRow<'_, B>, &Cut)| match cut {
        Cut::Nothing => backend.edit(&[*row], &[Vec::new()], width),
        Cut::Tokens(tokens) => {
            let biases = tokens.iter().map(|token| (*token, f32::NEG_INFINITY)).collect();
            backend.edit(&[*row], &[vec![Edit::Bias(biases)]], width)
        }
        Cut::Keep(tokens) => {
            let mask = Arc::new(tokens.iter().copied().collect());
            backend.edit(&[*row], &[vec![Edit::Allow(mask)]], width)
        }
        Cut::Below(fraction) => {
            let filter = Filter { min_p: Some(fraction.clamp(0.0, 1.0)), ..Filter::default() };
            backend.filter(&[*row], &filter, width)
        }
        Cut::Temperature(temperature) => {
            let filter = Filter { temperature: *temperature, ..Filter::default() };
            filter.validate()?;
            backend.filter(&[*row], &filter, width)
        }
    };
    let mut tensors = rows.iter().zip(&cuts).map(single).collect::<Result<Vec<_>>>()?;
    if tensors.len() == 1 {
        return Ok(tensors.pop());
    }
    let rows = tensors.iter().flat_map(|tensor| score_rows(tensor, 1)).collect();
    backend.linear(&[Term { weight: 1.0, rows }], width).map(Some)
}
