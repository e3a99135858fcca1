use std::fmt::Debug;

use super::Backend;
use crate::TokenId;

/// One row of a tensor.
pub struct ScoreRow<'a, B: Backend> {
    /// The tensor it lies in.
    pub tensor: &'a B::Tensor,
    /// Which of the tensor's rows it is.
    pub index: usize,
}

impl<'a, B: Backend> ScoreRow<'a, B> {
    /// Row `index` of `tensor`.
    pub fn new(tensor: &'a B::Tensor, index: usize) -> Self {
        Self { tensor, index }
    }
}

impl<B: Backend> Clone for ScoreRow<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for ScoreRow<'_, B> {}

impl<B: Backend> Debug for ScoreRow<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScoreRow").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The first `rows` rows of a tensor.
pub fn score_rows<B: Backend>(tensor: &B::Tensor, rows: usize) -> Vec<ScoreRow<'_, B>> {
    (0..rows).map(|index| ScoreRow::new(tensor, index)).collect()
}

/// A weight and the rows it applies to, one for each row of the result.
#[derive(Debug, Clone)]
pub struct Term<'a, B: Backend> {
    /// Finite, not zero.
    pub weight: f32,
    /// One for each row of the result.
    pub rows: Vec<ScoreRow<'a, B>>,
}

/// A token with its log-probability (natural log).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// The token.
    pub token: TokenId,
    /// In the row it was picked from; NaN exactly where that row is unsound, and then the token means nothing.
    pub log_prob: f32,
}
