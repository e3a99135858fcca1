//! [`Backend`]: a tensor library that holds scores and works on them where they are.
//!
//! A backend implements a dozen operations on rows of scores. Combination, sampling, speculation and search are
//! written once, over these. A row is one next-token distribution: `width` scores, one for each token id.
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
mod edit;
mod filter;
mod pool;
mod row;

pub use checks::{
    check_bounds, check_choice, check_edits, check_pool, check_rows, check_same_length, check_terms,
    check_tokens, check_uniforms,
};
pub use edit::{Edit, TokenMask};
pub use filter::Filter;
pub use pool::Pool;
pub use row::{Pick, ScoreRow, Term, score_rows};

use std::fmt::Debug;

use crate::{Result, TokenId};

/// A tensor library, or one device of it, that holds scores and works on them where they are.
///
/// # Contract
/// * A tensor is a matrix of rows; an operation reads the rows it is given, which may lie in several tensors (and
///   on several devices of the same library: the backend brings them to its own), and only their first `width`
///   columns. Results are new tensors of `f32` (or wider) with exactly `width` columns and a row for each row given.
/// * Arithmetic is in `f32` or wider whatever the stored type is: the difference of two bf16 rows cancels badly.
/// * **Nothing crosses to the host** but what an operation returns by value, and nothing to the device but token
///   lists, masks and uniforms. [`upload`](Self::upload) and [`download`](Self::download) are the two exceptions,
///   and no decoding step calls them.
/// * A row is *sound* when it has no NaN, no +∞ and at least one finite entry; −∞ excludes a token. **An unsound
///   row never becomes a silent token**: whatever is computed from it by [`log_softmax`](Self::log_softmax),
///   [`pool`](Self::pool) or [`filter`](Self::filter) is unsound too, and [`argmax`](Self::argmax),
///   [`draw`](Self::draw), [`log_probs`](Self::log_probs), [`top`](Self::top) report NaN for it.
/// * The order of tokens is total: by score, highest first; equal scores by id, lowest first. Hence exactly `k`
///   tokens survive top-k, and a nucleus is the smallest set, on every backend.
/// * Wrong arguments (a row past its tensor, a width past the tensor's, lists of different length) are errors,
///   never panics; the `check_*` functions of this module test for them.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// A matrix of scores. Need not be `Sync` or `Clone`.
    type Tensor: Send + 'static;

    /// Short name for messages: `host`, `candle`, `ort`, `tch`.
    const NAME: &'static str;

    /// Rows and columns of a tensor.
    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize);

    /// Another handle to the same memory.
    fn shallow_clone(&self, tensor: &Self::Tensor) -> Self::Tensor;

    /// Brings `scores`, row after row of `width`, to the device. Outside decoding steps, save for sources that
    /// live on the host or in another library.
    fn upload(&self, scores: &[f32], width: usize) -> Result<Self::Tensor>;

    /// Brings rows to the host, one after another. Outside decoding steps.
    fn download(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>>;

    /// `out[i] = Σₖ wₖ·rowsₖ[i]`. Terms are not empty and have equally many rows. Under a negative weight +∞ comes
    /// out as NaN: as −∞ it would pass for a token that is excluded.
    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// `out[i] = rows[i] − log Σ exp rows[i]`.
    fn log_softmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// Pools rows of log-probabilities elementwise, beyond the linear rules: see [`Pool`].
    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor>;

    /// Element-wise: every finite score is brought into `[low, high]`, and −∞, +∞ and NaN stay what they are. So an
    /// excluded token stays excluded, and a row is sound after the operation exactly if it was sound before.
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

    /// Divides by the temperature, then excludes (−∞) what top-k, top-p and min-p drop, in this order; the mass
    /// that top-p speaks of is that of the tokens still there.
    fn filter(&self, rows: &[ScoreRow<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor>;

    /// Elementwise: `inside` where `kept` is above −∞, else `outside`, or −∞ where `outside` is none. A NaN in
    /// `kept` gives NaN.
    fn choose(
        &self,
        kept: &[ScoreRow<'_, Self>],
        inside: &[ScoreRow<'_, Self>],
        outside: Option<&[ScoreRow<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor>;

    /// Applies each row's edits, in their order.
    fn edit(&self, rows: &[ScoreRow<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor>;

    /// `out[i] = log max(softmax(target[i]) − softmax(draft[i]), 0)`, the distribution speculative decoding draws
    /// from after a rejection, up to a constant. Where nothing is left (equal distributions, where a rejection can
    /// only be rounding) the row is `log_softmax(target[i])`.
    fn residual(
        &self,
        target: &[ScoreRow<'_, Self>],
        draft: &[ScoreRow<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor>;

    /// The first token of each row in the total order, with its log-probability in that row.
    fn argmax(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<Pick>>;

    /// Draws from `softmax(rows[i])` with `uniforms[i]` in [0, 1), by inverting the distribution function in the
    /// order of ids: the first token whose cumulative probability exceeds the uniform. A token of probability
    /// zero is never drawn.
    fn draw(&self, rows: &[ScoreRow<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>>;

    /// Log-probabilities (natural log, of the softmaxed row) of the named tokens, a list for each row.
    fn log_probs(
        &self,
        rows: &[ScoreRow<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>>;

    /// The first `k` tokens of each row in the total order with their log-probabilities; fewer where fewer have
    /// a probability above zero. One entry of NaN for an unsound row.
    fn top(&self, rows: &[ScoreRow<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>>;

    /// `log Σ exp rows[i]`; −∞ for a row of nothing but −∞, NaN for one with NaN or +∞.
    fn log_normalizers(&self, rows: &[ScoreRow<'_, Self>], width: usize) -> Result<Vec<f32>>;
}
