use crate::Scores;
use crate::backend::{Backend, ScoreRow, score_rows};

/// A row of combined scores, and the place in a text whose next token it scores.
pub(crate) struct Spot<'a, B: Backend> {
    pub(crate) scores: ScoreRow<'a, B>,
    /// Row of the sampler.
    pub(crate) row: usize,
    /// How many tokens of the row come before.
    pub(crate) position: usize,
    /// As [`Token::known_mass`](super::Token::known_mass).
    pub(crate) known_mass: Option<f32>,
}

impl<B: Backend> Clone for Spot<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Spot<'_, B> {}

/// The rows of `prepared`, one for each spot; the spots' own if nothing was done to them.
pub(crate) fn drawn_from<'a, B: Backend>(
    spots: &[Spot<'a, B>],
    prepared: Option<&'a B::Tensor>,
) -> Vec<ScoreRow<'a, B>> {
    prepared.map_or_else(|| spots.iter().map(|s| s.scores).collect(), |t| score_rows(t, spots.len()))
}

/// All positions of some scores, of which the first of each row follows so many tokens.
pub(crate) fn spots<'a, B: Backend>(scores: &'a Scores<B>, first: &[usize]) -> Vec<Spot<'a, B>> {
    let of_row = |(row, first): (usize, &usize)| {
        let first = *first;
        scores.positions(row).into_iter().enumerate().map(move |(i, position)| Spot {
            scores: position,
            row,
            position: first + i,
            known_mass: scores.known_mass_at(position.index),
        })
    };
    first.iter().enumerate().flat_map(of_row).collect()
}
