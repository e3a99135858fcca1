//! [`Backend`]: the operations on scores that a tensor library implements.
//!
//! Scores stay in the memory of the library that computed them. Combination, sampling, speculation and search are
//! written once, over a dozen operations on score rows. A score row is the next-token distribution at one position:
//! `width` scores, one for each token id.
//!
//! ```
//! use eft_core::{Backend, Host, ScoreRow, Term};
//!
//! let host = Host;
//! let large = host.upload(&[1.0, 2.0, 3.0], 3)?;
//! let tuned = host.upload(&[0.0, 5.0, 0.0], 3)?;
//! let untuned = host.upload(&[0.0, 1.0, 0.0], 3)?;
//! let combined = host.linear(
//!     &[
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&large, 0)] },
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&tuned, 0)] },
//!         Term { weight: -1.0, rows: vec![ScoreRow::new(&untuned, 0)] },
//!     ],
//!     3,
//! )?;
//! assert_eq!(host.argmax(&[ScoreRow::new(&combined, 0)], 3)?[0].token, 1);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod checks;
mod device;
mod edit;
mod filter;
mod pool;
mod row;

pub use checks::{
    check_bounds, check_choice, check_edits, check_pool, check_rows, check_same_length, check_terms,
    check_tokens, check_uniforms, check_upload,
};
pub use device::DeviceName;
pub use edit::{Edit, TokenMask};
pub use filter::Filter;
pub use pool::Pool;
pub use row::{Pick, ScoreRow, Term, score_rows};

use std::fmt::Debug;

use crate::{Result, TokenId};

/// A tensor library, or one device of it, that holds scores and computes with them.
///
/// # Contract
/// * A tensor is a matrix whose rows are score rows. An operation reads the rows that it is given, and only their first
///   `width` columns. The rows may lie in several tensors, and on several devices of the same library: the backend
///   copies them to its own device. A result is a new tensor of `f32` (or wider) with exactly `width` columns, and one
///   row for each row that was given.
/// * Arithmetic is done in `f32` or wider, whatever type the scores are stored in: a difference of bf16 scores would
///   lose most of its digits.
/// * **No score row crosses to the host**, only what an operation returns by value; and nothing is sent to the device
///   but token lists, masks and uniform numbers. [`upload`](Self::upload) and [`download`](Self::download) are the two
///   exceptions, which no decoding step calls.
/// * A row is *sound* if it has no NaN, no +∞ and at least one finite entry; −∞ excludes a token. **An unsound row
///   never becomes a token without notice**: the results of [`log_softmax`](Self::log_softmax), [`pool`](Self::pool),
///   [`clamp`](Self::clamp) and [`filter`](Self::filter) for it are unsound too, and [`argmax`](Self::argmax),
///   [`draw`](Self::draw), [`log_probs`](Self::log_probs) and [`top`](Self::top) report NaN.
/// * The order of tokens is total: the highest score first, and equal scores by the lowest id first. So exactly `k`
///   tokens survive top-k, and a nucleus is the same set on every backend.
/// * Invalid arguments (a row out of range, a width larger than that of a tensor, lists of different lengths) are
///   errors and never panics. The `check_*` functions of this module check for them.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// A matrix of scores. It need not be `Sync` or `Clone`.
    type Tensor: Send + 'static;

    /// A short name for messages, such as `host` or `candle`.
    const NAME: &'static str;

    /// Returns the number of rows and columns of a tensor.
    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize);

    /// Returns another handle to the same memory.
    fn shallow_clone(&self, tensor: &Self::Tensor) -> Self::Tensor;

    /// Copies `scores`, consecutive rows of `width` entries, to the device. Decoding steps do not call it, except for
    /// sources that live on the host or in another library.
    fn upload(&self, scores: &[f32], width: usize) -> Result<Self::Tensor>;

    /// Copies rows to the host, one after another. Decoding steps do not call it.
    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>>;

    /// Computes `out[i] = Σₖ wₖ·rowsₖ[i]` for at least one term, all with the same number of rows. +∞ under a negative
    /// weight becomes NaN, since −∞ would be mistaken for an excluded token.
    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// Computes `out[i] = rows[i] − log Σ exp rows[i]`.
    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// Merges rows of log-probabilities entry by entry, in a way that is not linear: see [`Pool`].
    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor>;

    /// Clamps every finite score to `[low, high]`, and leaves −∞, +∞ and NaN unchanged. So an excluded token stays
    /// excluded, and a row is sound afterwards if and only if it was sound before.
    ///
    /// `low` may be −∞ and `high` may be +∞, for a bound on one side only. A [`Rule`](crate::Rule) can thus limit,
    /// for example, how far the difference of two models may move each score:
    ///
    /// ```
    /// use eft_core::backend::score_rows;
    /// use eft_core::{Backend, Host};
    ///
    /// let delta = Host.upload(&[-9.0, 0.5, 3.0, f32::NEG_INFINITY], 4)?;
    /// let limited = Host.clamp(&score_rows(&delta, 1), -2.0, 2.0, 4)?;
    /// let limited = Host.download(&score_rows(&limited, 1), 4)?;
    /// assert_eq!(limited, [-2.0, 0.5, 2.0, f32::NEG_INFINITY]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`](crate::Error::InvalidParameter) if a bound is NaN, `low` is above `high`, `low`
    ///   is +∞ or `high` is −∞ (see [`check_bounds`]).
    /// * [`Error::Shape`](crate::Error::Shape) if a row or `width` lies outside its tensor (see [`check_rows`]).
    fn clamp(&self, rows: &[ScoreRow<'_, Self>], low: f32, high: f32, width: usize) -> Result<Self::Tensor>;

    /// Divides scores by the temperature, then sets those of the tokens that top-k, top-p and min-p drop, in this
    /// order, to −∞. Top-p is a fraction of the probability mass that top-k leaves.
    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor>;

    /// Takes, entry by entry, `inside` where `kept` is above −∞, and `outside` where it is −∞ (−∞ if `outside` is
    /// `None`). Where `kept` is NaN, the result is NaN.
    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor>;

    /// Applies the edits of each row, in order: `edits[i]` are those of row `i`.
    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor>;

    /// Computes `out[i] = log max(softmax(target[i]) − softmax(draft[i]), 0)`: up to a constant, the distribution from
    /// which speculative decoding draws after a rejection (Leviathan et al. 2022, arXiv 2211.17192). If all entries of
    /// a row are −∞ (the distributions are equal, so the rejection was due to rounding), the row is
    /// `log_softmax(target[i])`.
    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor>;

    /// Returns the first token of each row in the total order, with its log-probability in that row.
    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>>;

    /// Draws a token from `softmax(rows[i])` with the uniform number `uniforms[i]` in [0, 1), by inverting the
    /// cumulative distribution function in the order of ids: returns the first token whose cumulative probability
    /// exceeds the uniform number. A token of probability zero is never drawn.
    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>>;

    /// Returns the log-probabilities, in nats, of the tokens `tokens[i]` in `softmax(rows[i])`.
    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>>;

    /// Returns the first `k` tokens of each row in the total order, with their log-probabilities; fewer if fewer tokens
    /// have a probability above zero. For an unsound row, returns one entry with a log-probability of NaN.
    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>>;

    /// Returns `log Σ exp rows[i]`: −∞ if all entries are −∞, NaN if an entry is NaN or +∞.
    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>>;
}
