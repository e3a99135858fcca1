//! The positive part of the target distribution minus the draft distribution.
use super::math::{exp, ln};
use super::parallel::{by_row, create};
use super::softmax::normalize;
use super::summary::{Mass, masses};
use super::tensor::{Host, HostTensor, RowView};
use super::vector::vectorized;
use crate::Result;
use crate::backend::{ScoreRow, check_rows, check_same_length};

pub(super) fn residual(
    host: &Host,
    target: &[ScoreRow<'_, Host>],
    draft: &[ScoreRow<'_, Host>],
    width: usize,
) -> Result<HostTensor> {
    check_rows(host, "residual, target", target, width)?;
    check_rows(host, "residual, draft", draft, width)?;
    check_same_length("residual, draft", target.len(), draft.len())?;
    let target = RowView::of_all(target, width);
    let draft = RowView::of_all(draft, width);
    let (target_masses, draft_masses) = (masses(&target, width), masses(&draft, width));
    let (mut scores, left) = create(target.len(), width, |row, columns, out| {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let target = target[row].read(columns.clone(), &mut first);
        let draft = draft[row].read(columns, &mut second);
        let (t, d) = (target_masses[row], draft_masses[row]);
        if t.is_sound() && d.is_sound() {
            return vectorized(
                #[inline(always)]
                || subtract(target, t, draft, d, out),
            );
        }
        out.fill(f32::NAN);
        true
    });
    for (row, (out, left)) in scores.chunks_mut(width.max(1)).zip(by_row(&left, width)).enumerate() {
        if !left.contains(&true) {
            normalize(target[row].read(0..width, &mut Vec::new()), target_masses[row], out);
        }
    }
    HostTensor::from_rows(scores, width)
}

/// Computes the logarithm of the difference. Returns whether any entry is above −∞.
#[inline(always)]
fn subtract(target: &[f32], t: Mass, draft: &[f32], d: Mass, out: &mut [f32]) -> bool {
    let (t_scale, d_scale) = (t.sum.recip() as f32, d.sum.recip() as f32);
    for ((out, x), y) in out.iter_mut().zip(target).zip(draft) {
        // The logarithm of a negative or tiny difference is −∞.
        *out = ln(exp(x - t.max) * t_scale - exp(y - d.max) * d_scale);
    }
    out.iter().any(|x| *x > f32::NEG_INFINITY)
}
