//! Checks of the arguments that every backend operation makes first.
use super::{Backend, Edit, Pool, ScoreRow, Term};
use crate::{Error, Result, TokenId};

/// Checks the arguments of [`Backend::upload`]: `scores` is whole rows of `width` numbers, or empty.
///
/// ```
/// use eft_core::Error;
/// use eft_core::backend::check_upload;
///
/// assert!(check_upload(&[0.0, 1.0, 2.0, 3.0], 2).is_ok());
/// assert!(matches!(check_upload(&[0.0, 1.0, 2.0], 2), Err(Error::Shape { .. })));
/// ```
///
/// # Errors
/// [`Error::Shape`] if `width` is 0 or does not divide the number of scores.
pub fn check_upload(scores: &[f32], width: usize) -> Result<()> {
    if width == 0 {
        return Err(Error::shape("upload", "a width of at least 1", width));
    }
    match scores.len().is_multiple_of(width) {
        true => Ok(()),
        false => Err(Error::shape("upload", format!("whole rows of {width} scores"), scores.len())),
    }
}

/// Checks that each row lies in its tensor and that each tensor has at least `width` columns. `what` names the operation
/// in the error.
///
/// ```
/// use eft_core::backend::{check_rows, score_rows};
/// use eft_core::{Backend, Error, Host, ScoreRow};
///
/// let tensor = Host.upload(&[0.0, 1.0, 2.0, 3.0], 2)?;
/// assert!(check_rows(&Host, "example", &score_rows(&tensor, 2), 2).is_ok());
/// let out_of_range = [ScoreRow::<Host>::new(&tensor, 2)];
/// assert!(matches!(check_rows(&Host, "example", &out_of_range, 2), Err(Error::Shape { .. })));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if a row is out of range, or if `width` is 0 or larger than the number of columns.
pub fn check_rows<B: Backend>(backend: &B, what: &str, rows: &[ScoreRow<'_, B>], width: usize) -> Result<()> {
    for row in rows {
        let (height, columns) = backend.shape(row.tensor);
        if row.index >= height {
            return Err(Error::shape(what, format!("a row index below {height}"), row.index));
        }
        if width > columns || width == 0 {
            return Err(Error::shape(what, format!("a width from 1 to {columns}"), width));
        }
    }
    Ok(())
}

/// Checks that there is at least one term, that all terms have the same number of rows, that weights are finite, and
/// the rows as [`check_rows`] does.
///
/// # Errors
/// * [`Error::Shape`] if there are no terms, their numbers of rows differ, or a row or `width` is out of range.
/// * [`Error::InvalidWeight`] if a weight is not finite.
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

/// Checks that a list has an entry for each row.
///
/// # Errors
/// [`Error::Shape`] if `got` is not `expected`.
pub fn check_same_length(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(what, format!("{expected} rows"), got))
}

/// Checks the arguments of [`Backend::choose`]: as many rows in `inside` and `outside` as in `kept`, and all rows as
/// [`check_rows`] does.
///
/// # Errors
/// [`Error::Shape`] if the numbers of rows differ, or a row or `width` is out of range.
pub fn check_choice<B: Backend>(
    backend: &B,
    kept: &[ScoreRow<'_, B>],
    inside: &[ScoreRow<'_, B>],
    outside: Option<&[ScoreRow<'_, B>]>,
    width: usize,
) -> Result<()> {
    check_rows(backend, "choose, kept", kept, width)?;
    for (what, rows) in [("choose, inside", Some(inside)), ("choose, outside", outside)] {
        let Some(rows) = rows else { continue };
        check_rows(backend, what, rows, width)?;
        check_same_length(what, kept.len(), rows.len())?;
    }
    Ok(())
}

/// Checks that every token id is below `width`. There is a list of tokens for each row.
///
/// # Errors
/// [`Error::TokenOutOfRange`] for the first id that is not.
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

/// Checks that every uniform number is in [0, 1).
///
/// # Errors
/// [`Error::InvalidParameter`] for the first number that is not.
pub fn check_uniforms(uniforms: &[f64]) -> Result<()> {
    match uniforms.iter().find(|u| !(0.0..1.0).contains(*u)) {
        Some(u) => Err(Error::parameter("uniform", u, "at least 0 and below 1")),
        None => Ok(()),
    }
}

/// Checks the bounds of [`Backend::clamp`].
///
/// # Errors
/// [`Error::InvalidParameter`] if a bound is NaN, `low` is above `high`, `low` is +∞ or `high` is −∞.
pub fn check_bounds(low: f32, high: f32) -> Result<()> {
    if low.is_nan() || low == f32::INFINITY {
        return Err(Error::parameter("low", low, "a finite number or −∞"));
    }
    if high.is_nan() || high == f32::NEG_INFINITY {
        return Err(Error::parameter("high", high, "a finite number or +∞"));
    }
    if low > high {
        return Err(Error::parameter("low", low, "at most `high`"));
    }
    Ok(())
}

/// Checks the exponent and the weights of a [`Pool::Power`]. The other pools ignore their weights.
///
/// # Errors
/// [`Error::InvalidParameter`] if the exponent is zero or not finite, or a weight is not above zero.
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

/// Checks the edits of each row.
///
/// # Errors
/// * [`Error::TokenOutOfRange`] if an edit names a token that is not below `width`.
/// * [`Error::InvalidParameter`] if a bias is NaN or +∞, or a penalty is not a finite number above zero.
pub fn check_edits(edits: &[Vec<Edit>], width: usize) -> Result<()> {
    for (row, edits) in edits.iter().enumerate() {
        let out_of_range = |token| Error::TokenOutOfRange {
            term: "the edits of a processor".into(),
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
                            return Err(Error::parameter("bias", bias, "a finite number or −∞"));
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
