//! Score rows together with the places in their texts whose next tokens they score.
use crate::Scores;
use crate::backend::{Backend, ScoreRow};
use crate::scores::Coverage;

/// A combined score row, and the place in a text whose next token it scores.
pub(crate) struct ScoredPosition<'a, B: Backend> {
    pub(crate) scores: ScoreRow<'a, B>,
    /// The row of the sampler.
    pub(crate) row: usize,
    /// The number of tokens of that row before this place.
    pub(crate) position: usize,
    /// What is known about the place, if a term is a black box.
    pub(crate) coverage: Option<Coverage>,
}

impl<B: Backend> Clone for ScoredPosition<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for ScoredPosition<'_, B> {}

/// Lists all positions of some scores, row by row. The first position of row `i` follows `first[i]` tokens.
pub(crate) fn scored_positions<'a, B: Backend>(
    scores: &'a Scores<B>,
    first: &[usize],
) -> Vec<ScoredPosition<'a, B>> {
    let of_row = |(row, first): (usize, &usize)| {
        let first = *first;
        scores.positions(row).into_iter().enumerate().map(move |(i, scored)| ScoredPosition {
            scores: scored,
            row,
            position: first + i,
            coverage: scores.coverage_at(scored.index),
        })
    };
    first.iter().enumerate().flat_map(of_row).collect()
}
