//! Elementwise pools of log-probabilities: power means, maximum, minimum.
use super::exp::{exp, ln};
use super::parallel::{chunks, update_chunks};
use super::softmax::{Mass, summarize};
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::Result;
use crate::backend::{Pool, Term, check_pool, check_terms};

pub(super) fn pool(host: &Host, terms: &[Term<'_, Host>], pool: Pool, width: usize) -> Result<HostTensor> {
    check_terms(host, "pool", terms, width)?;
    check_pool(terms, pool)?;
    let terms: Vec<_> = terms.iter().map(|term| (term.weight, Scores::of_all(&term.rows, width))).collect();
    let rows = terms[0].1.len();
    let mut scores = vec![0.0; rows * width];
    let extents = update_chunks(&mut scores, width, |row, columns, out| {
        let mut buffers = vec![Vec::new(); terms.len()];
        let parts: Vec<_> = terms
            .iter()
            .zip(&mut buffers)
            .map(|((weight, rows), buffer)| (*weight, rows[row].read(columns.clone(), buffer)))
            .collect();
        match pool {
            Pool::Power(p) => power(&parts, p, out),
            Pool::Max => extreme(&parts, |x, best| x > best, out),
            Pool::Min => extreme(&parts, |x, best| x < best, out),
        }
        parts.iter().map(|(_, scores)| summarize(scores).mass).collect::<Vec<_>>()
    });
    // A pool can hide what makes a part unsound: the maximum hides an excluded row, the minimum hides +∞.
    let sound: Vec<_> = extents
        .chunks(chunks(width).max(1))
        .map(|row| (0..terms.len()).all(|k| Mass::total(row.iter().map(|parts| parts[k])).is_sound()))
        .collect();
    if sound.contains(&false) {
        for (row, sound) in scores.chunks_mut(width.max(1)).zip(sound) {
            if !sound {
                row.fill(f32::NAN);
            }
        }
    }
    HostTensor::from_rows(scores, width)
}

fn power(parts: &[(f32, &[f32])], p: f32, out: &mut [f32]) {
    // `out` first holds the largest `p·x`, which all exponents are relative to.
    out.fill(f32::NEG_INFINITY);
    for (_, scores) in parts {
        out.iter_mut().zip(*scores).for_each(|(max, x)| *max = if p * x > *max { p * x } else { *max });
    }
    let mut sums = vec![0.0; out.len()];
    for (weight, scores) in parts {
        for ((sum, max), x) in sums.iter_mut().zip(&*out).zip(*scores) {
            *sum += weight * exp(p * x - max);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        // At ±∞ the sum is NaN or zero, and the largest is the answer.
        *out = if out.is_infinite() { *out / p } else { (*out + ln(sum)) / p };
    }
}

fn extreme(parts: &[(f32, &[f32])], beats: impl Fn(f32, f32) -> bool, out: &mut [f32]) {
    for (k, (_, scores)) in parts.iter().enumerate() {
        for (out, x) in out.iter_mut().zip(*scores) {
            *out = if k == 0 || beats(*x, *out) { *x } else { *out };
        }
    }
}
