//! [`Backend`]: a tensor library that holds scores and works on them where they are.
//!
//! A backend implements a dozen operations on rows of scores. Combination, sampling, speculation and search are
//! written once, over these. A row is one next-token distribution: `width` scores, one for each token id.
//!
//! ```
//! use eft_core::{Backend, Host, Row, Term};
//!
//! let host = Host;
//! let large = host.upload(&[1.0, 2.0, 3.0], 3)?;
//! let tuned = host.upload(&[0.0, 5.0, 0.0], 3)?;
//! let untuned = host.upload(&[0.0, 1.0, 0.0], 3)?;
//! let combined = host.linear(
//!     &[
//!         Term { weight: 1.0, rows: vec![Row::new(&large, 0)] },
//!         Term { weight: 1.0, rows: vec![Row::new(&tuned, 0)] },
//!         Term { weight: -1.0, rows: vec![Row::new(&untuned, 0)] },
//!     ],
//!     3,
//! )?;
//! assert_eq!(host.argmax(&[Row::new(&combined, 0)], 3)?[0].token, 1);
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::fmt::Debug;
use std::sync::Arc;

use crate::{Error, Result, TokenId};

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
    fn download(&self, rows: &[Row<'_, Self>], width: usize) -> Result<Vec<f32>>;

    /// `out[i] = Σₖ wₖ·rowsₖ[i]`. Terms are not empty and have equally many rows. Under a negative weight +∞ comes
    /// out as NaN: as −∞ it would pass for a token that is excluded.
    fn linear(&self, terms: &[Term<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// `out[i] = rows[i] − log Σ exp rows[i]`.
    fn log_softmax(&self, rows: &[Row<'_, Self>], width: usize) -> Result<Self::Tensor>;

    /// Pools rows of log-probabilities elementwise, beyond the linear rules: see [`Pool`].
    fn pool(&self, terms: &[Term<'_, Self>], pool: Pool, width: usize) -> Result<Self::Tensor>;

    /// Divides by the temperature, then excludes (−∞) what top-k, top-p and min-p drop, in this order; the mass
    /// that top-p speaks of is that of the tokens still there.
    fn filter(&self, rows: &[Row<'_, Self>], filter: &Filter, width: usize) -> Result<Self::Tensor>;

    /// Elementwise: `inside` where `kept` is above −∞, else `outside`, or −∞ where `outside` is none. A NaN in
    /// `kept` gives NaN.
    fn choose(
        &self,
        kept: &[Row<'_, Self>],
        inside: &[Row<'_, Self>],
        outside: Option<&[Row<'_, Self>]>,
        width: usize,
    ) -> Result<Self::Tensor>;

    /// Applies each row's edits, in their order.
    fn edit(&self, rows: &[Row<'_, Self>], edits: &[Vec<Edit>], width: usize) -> Result<Self::Tensor>;

    /// `out[i] = log max(softmax(target[i]) − softmax(draft[i]), 0)`, the distribution speculative decoding draws
    /// from after a rejection, up to a constant. Where nothing is left (equal distributions, where a rejection can
    /// only be rounding) the row is `log_softmax(target[i])`.
    fn residual(
        &self,
        target: &[Row<'_, Self>],
        draft: &[Row<'_, Self>],
        width: usize,
    ) -> Result<Self::Tensor>;

    /// The first token of each row in the total order, with its log-probability in that row.
    fn argmax(&self, rows: &[Row<'_, Self>], width: usize) -> Result<Vec<Pick>>;

    /// Draws from `softmax(rows[i])` with `uniforms[i]` in [0, 1), by inverting the distribution function in the
    /// order of ids: the first token whose cumulative probability exceeds the uniform. A token of probability
    /// zero is never drawn.
    fn draw(&self, rows: &[Row<'_, Self>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>>;

    /// Log-probabilities (natural log, of the softmaxed row) of the named tokens, a list for each row.
    fn log_probs(
        &self,
        rows: &[Row<'_, Self>],
        tokens: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Vec<Vec<f32>>>;

    /// The first `k` tokens of each row in the total order with their log-probabilities; fewer where fewer have
    /// a probability above zero. One entry of NaN for an unsound row.
    fn top(&self, rows: &[Row<'_, Self>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>>;

    /// `log Σ exp rows[i]`; −∞ for a row of nothing but −∞, NaN for one with NaN or +∞.
    fn log_normalizers(&self, rows: &[Row<'_, Self>], width: usize) -> Result<Vec<f32>>;
}

/// One row of a tensor.
pub struct Row<'a, B: Backend> {
    /// The tensor it lies in.
    pub tensor: &'a B::Tensor,
    /// Which of the tensor's rows it is.
    pub index: usize,
}

impl<'a, B: Backend> Row<'a, B> {
    /// Row `index` of `tensor`.
    pub fn new(tensor: &'a B::Tensor, index: usize) -> Self {
        Self { tensor, index }
    }
}

impl<B: Backend> Clone for Row<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Row<'_, B> {}

impl<B: Backend> Debug for Row<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The first `rows` rows of a tensor.
pub fn rows_of<B: Backend>(tensor: &B::Tensor, rows: usize) -> Vec<Row<'_, B>> {
    (0..rows).map(|index| Row::new(tensor, index)).collect()
}

/// A weight and the rows it applies to, one for each row of the result.
#[derive(Debug, Clone)]
pub struct Term<'a, B: Backend> {
    /// Finite, not zero.
    pub weight: f32,
    /// One for each row of the result.
    pub rows: Vec<Row<'a, B>>,
}

/// How [`Backend::pool`] merges rows of log-probabilities `xₖ` with weights `wₖ > 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pool {
    /// `(1/p)·log Σₖ wₖ·exp(p·xₖ)` for a finite `p ≠ 0`: the weighted power mean of the probabilities. `p = 1` is
    /// the mixture, `p = −1` the harmonic mean. A token with −∞ in some row is −∞ for negative `p`.
    Power(f32),
    /// The largest entry; weights do not count.
    Max,
    /// The smallest entry; weights do not count.
    Min,
}

/// Temperature and truncation of one row, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// Scores are divided by it first; finite and above zero.
    pub temperature: f32,
    /// Keep the first `k` tokens; at least 1.
    pub top_k: Option<usize>,
    /// Keep the smallest set of first tokens whose mass reaches `p`, the crossing token included; in (0, 1].
    pub top_p: Option<f32>,
    /// Keep tokens whose probability is at least this fraction of the largest; in [0, 1].
    pub min_p: Option<f32>,
}

impl Default for Filter {
    /// Changes nothing.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None }
    }
}

impl Filter {
    /// Whether the filter leaves every row as it is.
    pub fn is_identity(&self) -> bool {
        self.temperature == 1.0 && !self.truncates()
    }

    /// Whether the filter can exclude a token.
    pub fn truncates(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some_and(|p| p < 1.0) || self.min_p.is_some_and(|p| p > 0.0)
    }

    /// Every setting in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the first that is not.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Error::parameter("temperature", self.temperature, "a finite number above 0"));
        }
        if self.top_k == Some(0) {
            return Err(Error::parameter("top_k", 0, "at least 1"));
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(Error::parameter("top_p", p, "above 0 and at most 1"));
        }
        if let Some(p) = self.min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::parameter("min_p", p, "from 0 to 1"));
        }
        Ok(())
    }
}

/// A change of one row of scores: what a [`Processor`](crate::sample::Processor) asks of the backend.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds to the scores of the named tokens; −∞ forbids one. A token named twice is added to twice.
    Bias(Vec<(TokenId, f32)>),
    /// Divides positive scores by `penalty` and multiplies negative ones, once for each distinct token.
    Repetition {
        /// The tokens to be made less likely, without doubles.
        tokens: Vec<TokenId>,
        /// Above zero; above one makes them less likely.
        penalty: f32,
    },
    /// Excludes every token outside the mask.
    Allow(Arc<TokenMask>),
}

/// A set of token ids, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenMask {
    words: Vec<u64>,
}

impl TokenMask {
    /// Whether the set holds `token`.
    pub fn contains(&self, token: TokenId) -> bool {
        self.words.get(token as usize / 64).is_some_and(|w| w >> (token % 64) & 1 == 1)
    }

    /// The bits, 64 ids a word, lowest id in the lowest bit; ids past the last word are not in the set.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl FromIterator<TokenId> for TokenMask {
    fn from_iter<I: IntoIterator<Item = TokenId>>(tokens: I) -> Self {
        let mut words = Vec::new();
        for token in tokens {
            let word = token as usize / 64;
            if word >= words.len() {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (token % 64);
        }
        Self { words }
    }
}

/// A token with its log-probability (natural log).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// The token.
    pub token: TokenId,
    /// In the row it was picked from; NaN exactly where that row is unsound, and then the token means nothing.
    pub log_prob: f32,
}

/// Rows lie in their tensors, and tensors are at least `width` wide.
///
/// # Errors
/// [`Error::Shape`] names `what` and the sizes.
pub fn check_rows<B: Backend>(backend: &B, what: &str, rows: &[Row<'_, B>], width: usize) -> Result<()> {
    for row in rows {
        let (height, columns) = backend.shape(row.tensor);
        if row.index >= height {
            return Err(Error::shape(what, format!("a row below {height}"), row.index));
        }
        if width > columns || width == 0 {
            return Err(Error::shape(what, format!("a width from 1 to {columns}"), width));
        }
    }
    Ok(())
}

/// At least one term, as many rows in each, weights finite, rows as in [`check_rows`].
///
/// # Errors
/// [`Error::Shape`] or [`Error::InvalidWeight`].
pub fn check_terms<B: Backend>(backend: &B, what: &str, terms: &[Term<'_, B>], width: usize) -> Result<()> {
    let Some(first) = terms.first() else {
        return Err(Error::shape(what, "at least one term", 0));
    };
    for (k, term) in terms.iter().enumerate() {
        check_same_length(what, first.rows.len(), term.rows.len())?;
        if !term.weight.is_finite() {
            return Err(Error::InvalidWeight { term: format!("{what}, term {k}"), weight: term.weight });
        }
        check_rows(backend, what, &term.rows, width)?;
    }
    Ok(())
}

/// Two lists that must run in parallel do.
///
/// # Errors
/// [`Error::Shape`].
pub fn check_same_length(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(what, format!("{expected} rows"), got))
}

/// Every token is below `width`.
///
/// # Errors
/// [`Error::TokenOutOfRange`] names the first that is not, and its row.
pub fn check_tokens<'a>(
    what: &str,
    tokens: impl IntoIterator<Item = &'a [TokenId]>,
    width: usize,
) -> Result<()> {
    for (row, tokens) in tokens.into_iter().enumerate() {
        if let Some(&token) = tokens.iter().find(|t| **t as usize >= width) {
            return Err(Error::TokenOutOfRange { term: what.into(), row, token, limit: width });
        }
    }
    Ok(())
}

/// Every uniform is in [0, 1).
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_uniforms(uniforms: &[f64]) -> Result<()> {
    match uniforms.iter().find(|u| !(0.0..1.0).contains(*u)) {
        Some(u) => Err(Error::parameter("uniform", u, "from 0 to below 1")),
        None => Ok(()),
    }
}

/// A pool's exponent is finite and not zero, and weights of a power mean are above zero.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_pool<B: Backend>(terms: &[Term<'_, B>], pool: Pool) -> Result<()> {
    let Pool::Power(p) = pool else { return Ok(()) };
    if !p.is_finite() || p == 0.0 {
        return Err(Error::parameter("exponent", p, "a finite number other than 0"));
    }
    match terms.iter().find(|t| t.weight <= 0.0) {
        Some(t) => Err(Error::parameter("weight", t.weight, "above 0 in a power mean")),
        None => Ok(()),
    }
}

/// Edits name tokens below `width`, biases are below +∞ and penalties above zero.
///
/// # Errors
/// [`Error::TokenOutOfRange`] or [`Error::InvalidParameter`].
pub fn check_edits(edits: &[Vec<Edit>], width: usize) -> Result<()> {
    for (row, edits) in edits.iter().enumerate() {
        let out_of_range = |token| Error::TokenOutOfRange {
            term: "the scores that a processor edits".into(),
            row,
            token,
            limit: width,
        };
        for edit in edits {
            match edit {
                Edit::Bias(biases) => {
                    for &(token, bias) in biases {
                        if token as usize >= width {
                            return Err(out_of_range(token));
                        }
                        if bias.is_nan() || bias == f32::INFINITY {
                            return Err(Error::parameter("bias", bias, "a finite number, or −∞"));
                        }
                    }
                }
                Edit::Repetition { tokens, penalty } => {
                    if let Some(&token) = tokens.iter().find(|t| **t as usize >= width) {
                        return Err(out_of_range(token));
                    }
                    if !(penalty.is_finite() && *penalty > 0.0) {
                        return Err(Error::parameter(
                            "repetition penalty",
                            penalty,
                            "a finite number above 0",
                        ));
                    }
                }
                Edit::Allow(_) => {}
            }
        }
    }
    Ok(())
}
