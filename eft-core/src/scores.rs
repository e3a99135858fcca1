//! [`Scores`]: the next-token scores that a source returns, for some positions of each row of a batch.
//!
//! ```
//! use eft_core::{Backend, Form, Host, Scores};
//!
//! let host = Host;
//! let tensor = host.upload(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 3)?;
//! // Row 0 of the batch has no scores, row 1 has two positions.
//! let scores: Scores<Host> = Scores::new(tensor, vec![0..0, 0..2], 3, Form::Logits);
//! assert_eq!(scores.positions(1).len(), 2);
//! # Ok::<(), eft_core::Error>(())
//! ```
use std::ops::Range;

use crate::backend::{Backend, ScoreRow};
use crate::{Error, Result};

/// The meaning of the entries of a score row. In every form, −∞ excludes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Raw logits: log-probabilities up to a constant of the score row.
    Logits,
    /// Log-probabilities: their exponentials sum to 1.
    LogProbs,
    /// Log-probabilities of only those tokens that a black box reports, its top few; −∞ means unknown. A combination is
    /// computed on the tokens that every term knows.
    Partial,
}

impl Form {
    /// The form of scores of which some have this form and some the other: the one that guarantees less.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Partial, _) | (_, Self::Partial) => Self::Partial,
            (Self::LogProbs, Self::LogProbs) => Self::LogProbs,
            _ => Self::Logits,
        }
    }
}

/// What is known about one position whose scores are [`Form::Partial`].
///
/// ```
/// use eft_core::scores::Coverage;
///
/// let coverage = Coverage::new(0.9).proven(true).missed_mass(0.01);
/// assert_eq!((coverage.known_mass, coverage.proven), (0.9, Some(true)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Coverage {
    /// The probability mass of the tokens that the black boxes report.
    pub known_mass: f32,
    /// Whether the best token that is known has the best score of all tokens; `None` if the source does not say.
    pub proven: Option<bool>,
    /// The share of the whole distribution that unknown tokens could have, at most; `None` if the source does not say.
    pub missed_mass: Option<f32>,
}

impl Coverage {
    /// Creates the coverage of a position from the probability mass of the known tokens.
    pub fn new(known_mass: f32) -> Self {
        Self { known_mass, proven: None, missed_mass: None }
    }

    /// Sets whether the best token that is known has the best score of all tokens.
    pub fn proven(mut self, proven: bool) -> Self {
        self.proven = Some(proven);
        self
    }

    /// Sets the largest share of the whole distribution that unknown tokens could have.
    pub fn missed_mass(mut self, missed: f32) -> Self {
        self.missed_mass = Some(missed);
        self
    }
}

/// Next-token scores: a tensor, and the positions of each row of the batch that its score rows belong to.
///
/// The [module](self) has an example.
pub struct Scores<B: Backend> {
    tensor: Option<B::Tensor>,
    spans: Vec<Range<usize>>,
    width: usize,
    form: Form,
    coverage: Vec<Coverage>,
}

impl<B: Backend> Scores<B> {
    /// Creates scores from a tensor. The positions of row `i` of the batch are the rows `spans[i]` of the tensor, in
    /// order. Columns from `width` upwards are ignored.
    ///
    /// Whether the spans fit the tensor is checked where the scores are used.
    pub fn new(tensor: B::Tensor, spans: Vec<Range<usize>>, width: usize, form: Form) -> Self {
        Self { tensor: Some(tensor), spans, width, form, coverage: Vec::new() }
    }

    /// Uploads scores that were computed on the host: `rows[i][p]` holds the `width` scores of position `p` of row `i`.
    ///
    /// ```
    /// use eft_core::{Form, Host, Scores};
    ///
    /// let rows = [vec![vec![0.0, 1.0]], vec![vec![2.0, 0.0], vec![0.0, 3.0]]];
    /// let scores = Scores::upload(&Host, &rows, 2, Form::Logits)?;
    /// assert_eq!(scores.spans(), [0..1, 1..3]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`] if a position has another number of scores than `width`.
    /// * [`Error::Backend`] if the upload fails.
    pub fn upload(backend: &B, rows: &[Vec<Vec<f32>>], width: usize, form: Form) -> Result<Self> {
        if let Some(wrong) = rows.iter().flatten().find(|p| p.len() != width) {
            return Err(Error::shape("the scores of a position", width, wrong.len()));
        }
        let flat = rows.iter().flatten().flatten().copied().collect::<Vec<_>>();
        if flat.is_empty() {
            return Ok(Self::none(rows.len(), width, form));
        }
        let spans = consecutive(rows.iter().map(Vec::len));
        Ok(Self::new(backend.upload(&flat, width)?, spans, width, form))
    }

    /// Creates scores with one position for each row of the batch: row `i` of the tensor for row `i` of the batch.
    pub fn one_each(tensor: B::Tensor, rows: usize, width: usize, form: Form) -> Self {
        Self::new(tensor, consecutive(vec![1; rows]), width, form)
    }

    /// Creates scores without any position, for a batch of `rows` rows.
    pub fn none(rows: usize, width: usize, form: Form) -> Self {
        Self { tensor: None, spans: vec![0..0; rows], width, form, coverage: Vec::new() }
    }

    /// Sets the probability mass of the tokens that the black boxes report, for partial scores: one number for each row
    /// of the tensor.
    #[must_use]
    pub fn with_known_mass(self, known_mass: Vec<f32>) -> Self {
        self.with_coverage(known_mass.into_iter().map(Coverage::new).collect())
    }

    /// Sets what is known about each position, for partial scores: one entry for each row of the tensor.
    ///
    /// [`Token::proven`](crate::Token::proven) and [`Token::missed_mass`](crate::Token::missed_mass) are taken from it if
    /// the token is chosen from these scores alone, not from a combination of them with others.
    #[must_use]
    pub fn with_coverage(mut self, coverage: Vec<Coverage>) -> Self {
        self.coverage = coverage;
        self
    }

    /// Returns the number of rows of the batch.
    pub fn rows(&self) -> usize {
        self.spans.len()
    }

    /// Returns the number of scores at each position.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the meaning of the entries.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the tensor; `None` if there are no scores at all.
    pub fn tensor(&self) -> Option<&B::Tensor> {
        self.tensor.as_ref()
    }

    /// Returns for each row of the batch the rows of the tensor that are its positions.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// Returns the positions of one row of the batch, in order. Empty if `row` is out of range.
    pub fn positions(&self, row: usize) -> Vec<ScoreRow<'_, B>> {
        let (Some(tensor), Some(span)) = (&self.tensor, self.spans.get(row)) else { return Vec::new() };
        span.clone().map(|index| ScoreRow::new(tensor, index)).collect()
    }

    /// Returns the last position of every row of the batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if a row has no position.
    pub fn last(&self) -> Result<Vec<ScoreRow<'_, B>>> {
        (0..self.rows())
            .map(|row| {
                let last = self.positions(row).pop();
                last.ok_or_else(|| Error::shape(format!("scores of row {row}"), "at least one position", 0))
            })
            .collect()
    }

    /// Returns the probability mass of the tokens that the black boxes report, at the last position of `row`. `None`
    /// unless the form is [`Form::Partial`] and the source has set it.
    pub fn known_mass(&self, row: usize) -> Option<f32> {
        Some(self.coverage(row)?.known_mass)
    }

    /// Returns what is known about the last position of `row`. `None` unless the form is [`Form::Partial`] and the
    /// source has set it.
    pub fn coverage(&self, row: usize) -> Option<Coverage> {
        self.coverage_at(self.spans.get(row)?.end.checked_sub(1)?)
    }

    /// The same as [`coverage`](Self::coverage), for a row of the tensor.
    pub(crate) fn coverage_at(&self, index: usize) -> Option<Coverage> {
        self.coverage.get(index).copied()
    }

    /// Returns the same scores for the rows of another batch: row `i` takes the positions of row `rows[i]` of this one. Nothing
    /// is copied.
    ///
    /// ```
    /// use eft_core::{Form, Host, Scores};
    ///
    /// let scores = Scores::upload(&Host, &[vec![vec![0.0, 1.0]], vec![], vec![vec![2.0, 0.0]]], 2, Form::Logits)?;
    /// let last = scores.select(&[2]);
    /// assert_eq!((last.rows(), last.positions(0)[0].index), (1, 1));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Panics
    /// If a row is out of range, as indexing does.
    #[must_use]
    pub fn select(mut self, rows: &[usize]) -> Self {
        self.spans = rows.iter().map(|row| self.spans[*row].clone()).collect();
        self
    }

    /// The same scores for a batch of `rows` rows: row `to[i]` takes the positions of row `i`, and the others have none.
    pub(crate) fn spread(mut self, rows: usize, to: &[usize]) -> Self {
        let mut spans = vec![0..0; rows];
        to.iter().zip(self.spans).for_each(|(to, span)| spans[*to] = span);
        self.spans = spans;
        self
    }

    /// Replaces the tensor, for wrappers that move scores to another backend.
    ///
    /// # Errors
    /// Any error of `f`.
    pub fn map<C: Backend>(self, f: impl FnOnce(B::Tensor) -> Result<C::Tensor>) -> Result<Scores<C>> {
        let tensor = self.tensor.map(f).transpose()?;
        Ok(Scores { tensor, spans: self.spans, width: self.width, form: self.form, coverage: self.coverage })
    }

    /// Returns another handle to the same memory.
    pub fn shallow_clone(&self, backend: &B) -> Self {
        Self {
            tensor: self.tensor.as_ref().map(|t| backend.shallow_clone(t)),
            spans: self.spans.clone(),
            width: self.width,
            form: self.form,
            coverage: self.coverage.clone(),
        }
    }

    /// Checks the scores that a source returned against the request: `wanted[i]` positions for row `i`, a tensor that
    /// holds them, and at least `width` columns.
    pub(crate) fn check(&self, backend: &B, term: &str, wanted: &[usize], width: usize) -> Result<()> {
        let wrong = |what: &str, expected: String, got: usize| {
            Err(Error::shape(format!("scores of `{term}`: {what}"), expected, got))
        };
        if self.spans.len() != wanted.len() {
            return wrong("rows of the batch", wanted.len().to_string(), self.spans.len());
        }
        let (height, columns) = self.tensor.as_ref().map_or((0, self.width), |t| backend.shape(t));
        for (row, (span, wanted)) in self.spans.iter().zip(wanted).enumerate() {
            if span.len() != *wanted {
                return wrong(&format!("positions of row {row}"), wanted.to_string(), span.len());
            }
            if !span.is_empty() && span.end > height {
                return wrong(
                    &format!("rows of the tensor, for row {row}"),
                    format!("{} or more", span.end),
                    height,
                );
            }
        }
        if self.width < width {
            return wrong("width", format!("{width} or more"), self.width);
        }
        if columns < self.width {
            return wrong("columns of the tensor", format!("{} or more", self.width), columns);
        }
        Ok(())
    }
}

/// Returns ranges of the given lengths, each of which begins where the one before it ends; the first begins at 0.
///
/// ```
/// assert_eq!(eft_core::scores::consecutive([2, 0, 3]), [0..2, 2..2, 2..5]);
/// ```
pub fn consecutive(lengths: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
    let mut next = 0;
    let range = |length| {
        next += length;
        next - length..next
    };
    lengths.into_iter().map(range).collect()
}

impl<B: Backend> std::fmt::Debug for Scores<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scores")
            .field("spans", &self.spans)
            .field("width", &self.width)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
