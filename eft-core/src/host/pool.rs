//! Merging log-probabilities entry by entry: power means, maximum, minimum.
use super::linear::weighted;
use super::math::{exp, ln};
use super::parallel::{by_row, create};
use super::summary::{Mass, Summary};
use super::tensor::{Host, HostTensor};
use super::vector::vectorized;
use crate::Result;
use crate::backend::{Pool, Term, check_pool, check_terms};

pub(super) fn pool(host: &Host, terms: &[Term<'_, Host>], pool: Pool, width: usize) -> Result<HostTensor> {
    check_terms(host, "pool", terms, width)?;
    check_pool(terms, pool)?;
    let terms = weighted(terms, width);
    let (mut scores, extremes) = create(terms[0].1.len(), width, |row, columns, out| {
        let mut buffers = vec![Vec::new(); terms.len()];
        let parts = terms.iter().zip(&mut buffers);
        let parts: Vec<_> = parts
            .map(|((weight, rows), buffer)| (*weight, rows[row].read(columns.clone(), buffer)))
            .collect();
        vectorized(
            #[inline(always)]
            || match pool {
                Pool::Power(p) => power(&parts, p, out),
                Pool::Max => extreme(&parts, |x, best| x > best, out),
                Pool::Min => extreme(&parts, |x, best| x < best, out),
            },
        );
        parts.iter().map(|(_, scores)| Summary::extremes(scores)).collect::<Vec<_>>()
    });
    // The result can be sound although a part is not: the maximum hides a row of −∞, the minimum hides +∞.
    for (row, extremes) in scores.chunks_mut(width.max(1)).zip(by_row(&extremes, width)) {
        let part = |k: usize| extremes.iter().map(|parts| parts[k]).collect::<Vec<_>>();
        if !(0..terms.len()).all(|k| Mass::of(&part(k)).is_sound()) {
            row.fill(f32::NAN);
        }
    }
    HostTensor::from_rows(scores, width)
}

#[inline(always)]
fn power(parts: &[(f32, &[f32])], p: f32, out: &mut [f32]) {
    // `out` first holds the largest `p·x`, which is subtracted from all exponents.
    out.fill(f32::NEG_INFINITY);
    for (_, scores) in parts {
        for (max, x) in out.iter_mut().zip(*scores) {
            *max = if p * x > *max { p * x } else { *max };
        }
    }
    let mut sums = vec![0.0; out.len()];
    for (weight, scores) in parts {
        for ((sum, max), x) in sums.iter_mut().zip(&*out).zip(*scores) {
            *sum += weight * exp(p * x - max);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        // If the largest is ±∞, the sum is NaN, and the largest is the result.
        *out = if out.is_infinite() { *out / p } else { (*out + ln(sum)) / p };
    }
}

#[inline(always)]
fn extreme(parts: &[(f32, &[f32])], beats: impl Fn(f32, f32) -> bool, out: &mut [f32]) {
    for (k, (_, scores)) in parts.iter().enumerate() {
        if k == 0 {
            out.copy_from_slice(scores);
        }
        for (out, x) in out.iter_mut().zip(*scores) {
            *out = if beats(*x, *out) { *x } else { *out };
        }
    }
}
