use std::fmt::Debug;

use super::Backend;
use crate::TokenId;

/// A score row: the scores of all tokens at one position, stored as one row of a tensor.
///
/// It refers to the tensor and copies nothing. Operations take rows from any number of tensors.
///
/// ```
/// use eft_core::{Backend, Host, ScoreRow};
///
/// let scores = Host.upload(&[0.0, 1.0, 5.0, 2.0], 2)?; // two rows of two scores
/// let second = ScoreRow::<Host>::new(&scores, 1);
/// assert_eq!(Host.argmax(&[second], 2)?[0].token, 0);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct ScoreRow<'a, B: Backend> {
    /// The tensor that holds the row.
    pub tensor: &'a B::Tensor,
    /// The index of the row in the tensor.
    pub index: usize,
}

impl<'a, B: Backend> ScoreRow<'a, B> {
    /// Refers to row `index` of `tensor`. Operations check that there is such a row.
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

/// Returns the first `rows` score rows of a tensor.
pub fn score_rows<B: Backend>(tensor: &B::Tensor, rows: usize) -> Vec<ScoreRow<'_, B>> {
    (0..rows).map(|index| ScoreRow::new(tensor, index)).collect()
}

/// One term of a weighted sum of score rows: a weight and the rows that it multiplies.
///
/// The documentation of [`backend`](super) has an example.
#[derive(Debug, Clone)]
pub struct Term<'a, B: Backend> {
    /// The weight, a finite number.
    pub weight: f32,
    /// The score rows, one for each row of the result.
    pub rows: Vec<ScoreRow<'a, B>>,
}

/// A token that was picked from a score row, with its log-probability.
///
/// ```
/// use eft_core::backend::score_rows;
/// use eft_core::{Backend, Host, Pick};
///
/// let scores = Host.upload(&[f32::NEG_INFINITY, 0.0], 2)?;
/// let picks = Host.argmax(&score_rows(&scores, 1), 2)?;
/// assert_eq!(picks, [Pick { token: 1, log_prob: 0.0 }]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// The id of the token.
    pub token: TokenId,
    /// The log-probability of the token in that row, in nats. NaN if and only if the row is unsound; the token is then
    /// meaningless.
    pub log_prob: f32,
}
