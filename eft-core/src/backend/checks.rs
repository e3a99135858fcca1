//! What every backend asks of its arguments.
use super::{Backend, Edit, Pool, ScoreRow, Term};
use crate::{Error, Result, TokenId};

/// Rows lie in their tensors, and tensors are at least `width` wide.
///
/// # Errors
/// [`Error::Shape`] names `what` and the sizes.
pub fn check_rows<B: Backend>(backend: &B, what: &str, rows: &[ScoreRow<'_, B>], width: usize) -> Result<()> {
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

/// The rows that are chosen between are as many as those they are chosen by, all of them as in [`check_rows`].
///
/// # Errors
/// [`Error::Shape`].
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

/// Checks the bounds of [`Backend::clamp`]: neither is NaN, `low ≤ high`, `low` is not +∞ and `high` is not −∞.
///
/// # Errors
/// [`Error::InvalidParameter`] names the bound that is wrong.
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
