//! Weighted sums of rows: one pass over the rows of all terms.
use super::parallel::fill;
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::Result;
use crate::backend::{Row, Term, check_rows, check_terms};

pub(super) fn linear(host: &Host, terms: &[Term<'_, Host>], width: usize) -> Result<HostTensor> {
    check_terms(host, "linear", terms, width)?;
    let terms: Vec<_> = terms.iter().map(|term| (term.weight, Scores::of_all(&term.rows, width))).collect();
    let scores = fill(terms[0].1.len(), width, |row, columns, out| {
        let mut buffer = Vec::new();
        for (k, (weight, rows)) in terms.iter().enumerate() {
            let scores = rows[row].read(columns.clone(), &mut buffer);
            if k == 0 {
                out.iter_mut().zip(scores).for_each(|(out, x)| *out = weight * x);
            } else {
                out.iter_mut().zip(scores).for_each(|(out, x)| *out += weight * x);
            }
        }
    });
    HostTensor::from_rows(scores, width)
}

pub(super) fn download(host: &Host, rows: &[Row<'_, Host>], width: usize) -> Result<Vec<f32>> {
    check_rows(host, "download", rows, width)?;
    let rows = Scores::of_all(rows, width);
    Ok(fill(rows.len(), width, |row, columns, out| {
        out.copy_from_slice(rows[row].read(columns, &mut Vec::new()));
    }))
}
