//! [`Scores`]: what a source says of next tokens, for some positions of each row of a batch.
//!
//! ```
//! use eft_core::{Form, Host, Scores, Backend};
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

/// What the entries of a row of scores mean. In every form −∞ excludes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Raw logits: log-probabilities up to a constant of the row.
    Logits,
    /// Log-probabilities: their exponentials sum to 1.
    LogProbs,
    /// Log-probabilities of the tokens that a black box tells, its top few; −∞ means unknown. Combinations are
    /// made on the tokens that every term knows.
    Partial,
}

/// Next-token scores: a tensor, and which of its rows belong to which row of the batch.
pub struct Scores<B: Backend> {
    tensor: Option<B::Tensor>,
    spans: Vec<Range<usize>>,
    width: usize,
    form: Form,
    known_mass: Vec<f32>,
}

impl<B: Backend> Scores<B> {
    /// Scores whose row `i` of the batch has the positions `spans[i]` of the tensor's rows, in their order. Only
    /// the first `width` columns count.
    pub fn new(tensor: B::Tensor, spans: Vec<Range<usize>>, width: usize, form: Form) -> Self {
        Self { tensor: Some(tensor), spans, width, form, known_mass: Vec::new() }
    }

    /// Scores that were computed on the host: for each row of the batch its positions, each of `width` scores.
    ///
    /// # Errors
    /// [`Error::Shape`] for a position of another width, and failures of the backend.
    pub fn upload(backend: &B, rows: &[Vec<Vec<f32>>], width: usize, form: Form) -> Result<Self> {
        if let Some(wrong) = rows.iter().flatten().find(|p| p.len() != width) {
            return Err(Error::shape("a position of scores", width, wrong.len()));
        }
        let flat = rows.iter().flatten().flatten().copied().collect::<Vec<_>>();
        if flat.is_empty() {
            return Ok(Self::none(rows.len(), width, form));
        }
        let spans = consecutive(rows.iter().map(Vec::len));
        Ok(Self::new(backend.upload(&flat, width)?, spans, width, form))
    }

    /// One position for each row of the batch: row `i` of the tensor.
    pub fn one_each(tensor: B::Tensor, rows: usize, width: usize, form: Form) -> Self {
        Self::new(tensor, (0..rows).map(|i| i..i + 1).collect(), width, form)
    }

    /// No scores for any of `rows` rows.
    pub fn none(rows: usize, width: usize, form: Form) -> Self {
        Self { tensor: None, spans: vec![0..0; rows], width, form, known_mass: Vec::new() }
    }

    /// For scores on partial rows: the probability mass that the black boxes give to the tokens known, one number
    /// for each row of the tensor.
    pub fn with_known_mass(mut self, known_mass: Vec<f32>) -> Self {
        self.known_mass = known_mass;
        self
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.spans.len()
    }

    /// Columns that count.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What the entries mean.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The tensor, unless there are no scores at all.
    pub fn tensor(&self) -> Option<&B::Tensor> {
        self.tensor.as_ref()
    }

    /// For each row of the batch, which rows of the tensor are its positions.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// The positions of one row of the batch; none for a row past the batch.
    pub fn positions(&self, row: usize) -> Vec<ScoreRow<'_, B>> {
        let (Some(tensor), Some(span)) = (&self.tensor, self.spans.get(row)) else { return Vec::new() };
        span.clone().map(|index| ScoreRow::new(tensor, index)).collect()
    }

    /// The last position of every row of the batch.
    ///
    /// # Errors
    /// [`Error::Shape`] names a row without scores.
    pub fn last(&self) -> Result<Vec<ScoreRow<'_, B>>> {
        (0..self.rows())
            .map(|row| {
                let last = self.positions(row).pop();
                last.ok_or_else(|| Error::shape(format!("scores of row {row}"), "at least one position", 0))
            })
            .collect()
    }

    /// The mass that black boxes give to the tokens known, at the last position of `row`; `None` unless the form
    /// is [`Form::Partial`] and the source told.
    pub fn known_mass(&self, row: usize) -> Option<f32> {
        self.known_mass_at(self.spans.get(row)?.end.checked_sub(1)?)
    }

    /// The same, for a row of the tensor.
    pub(crate) fn known_mass_at(&self, index: usize) -> Option<f32> {
        self.known_mass.get(index).copied()
    }

    /// The same scores for the rows of another batch: row `i` takes the positions of row `rows[i]` of this one.
    pub(crate) fn select(mut self, rows: &[usize]) -> Self {
        self.spans = rows.iter().map(|row| self.spans[*row].clone()).collect();
        self
    }

    /// The same scores with another tensor, for wrappers that move them.
    pub fn map<C: Backend>(self, f: impl FnOnce(B::Tensor) -> Result<C::Tensor>) -> Result<Scores<C>> {
        let tensor = self.tensor.map(f).transpose()?;
        Ok(Scores {
            tensor,
            spans: self.spans,
            width: self.width,
            form: self.form,
            known_mass: self.known_mass,
        })
    }

    /// Another handle to the same memory.
    pub fn shallow_clone(&self, backend: &B) -> Self {
        Self {
            tensor: self.tensor.as_ref().map(|t| backend.shallow_clone(t)),
            spans: self.spans.clone(),
            width: self.width,
            form: self.form,
            known_mass: self.known_mass.clone(),
        }
    }

    /// What a source returned is what was asked: `wanted[i]` positions for each row, a tensor that holds them, and
    /// at least `width` columns.
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
