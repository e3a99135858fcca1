//! Weighted sums of score rows, in one pass over the rows of all terms.
use std::ops::Range;

use super::parallel::fill;
use super::tensor::{Host, HostTensor, RowView};
use super::vector::vectorized;
use crate::Result;
use crate::backend::{ScoreRow, Term, check_rows, check_terms};

pub(super) fn linear(host: &Host, terms: &[Term<'_, Host>], width: usize) -> Result<HostTensor> {
    check_terms(host, "linear", terms, width)?;
    let terms = weighted(terms, width);
    let scores = fill(terms[0].1.len(), width, |row, columns, out| {
        vectorized(
            #[inline(always)]
            || sum(&terms, row, columns, out),
        );
    });
    HostTensor::from_rows(scores, width)
}

/// The weight of a term and its rows.
pub(super) type Weighted<'a> = (f32, Vec<RowView<'a>>);

pub(super) fn weighted<'a>(terms: &[Term<'a, Host>], width: usize) -> Vec<Weighted<'a>> {
    terms.iter().map(|term| (term.weight, RowView::of_all(&term.rows, width))).collect()
}

/// Sums one row over all terms. The first three terms take one loop, since emulated fine-tuning has three; each further
/// term takes another.
#[inline(always)]
fn sum(terms: &[Weighted<'_>], row: usize, columns: Range<usize>, out: &mut [f32]) {
    let [mut first, mut second, mut third] = [const { Vec::new() }; 3];
    let more = match terms {
        [(u, a), (v, b), (w, c), more @ ..] => {
            let a = a[row].read(columns.clone(), &mut first);
            let b = b[row].read(columns.clone(), &mut second);
            let c = c[row].read(columns.clone(), &mut third);
            for (((out, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
                *out = times(*u, *a) + times(*v, *b) + times(*w, *c);
            }
            more
        }
        [(u, a), more @ ..] => {
            for (out, a) in out.iter_mut().zip(a[row].read(columns.clone(), &mut first)) {
                *out = times(*u, *a);
            }
            more
        }
        [] => &[],
    };
    for (w, x) in more {
        for (out, x) in out.iter_mut().zip(x[row].read(columns.clone(), &mut first)) {
            *out += times(*w, *x);
        }
    }
}

/// Multiplies, with NaN for +∞ under a negative weight: −∞ would be mistaken for an excluded token.
#[inline(always)]
fn times(weight: f32, x: f32) -> f32 {
    if weight < 0.0 && x == f32::INFINITY { f32::NAN } else { weight * x }
}

pub(super) fn download(host: &Host, rows: &[ScoreRow<'_, Host>], width: usize) -> Result<Vec<f32>> {
    check_rows(host, "download", rows, width)?;
    let rows = RowView::of_all(rows, width);
    Ok(fill(rows.len(), width, |row, columns, out| {
        out.copy_from_slice(rows[row].read(columns, &mut Vec::new()));
    }))
}
