//! What a target distribution has more than a draft: where speculative decoding draws after a rejection.
use super::exp::{exp, ln};
use super::parallel::{chunks, update_chunks};
use super::softmax::{Mass, masses, normalize, summaries};
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::Result;
use crate::backend::{Row, check_rows, check_same_length};

pub(super) fn residual(
    host: &Host,
    target: &[Row<'_, Host>],
    draft: &[Row<'_, Host>],
    width: usize,
) -> Result<HostTensor> {
    check_rows(host, "residual, target", target, width)?;
    check_rows(host, "residual, draft", draft, width)?;
    check_same_length("residual, draft", target.len(), draft.len())?;
    let target = Scores::of_all(target, width);
    let draft = Scores::of_all(draft, width);
    let target_mass: Vec<_> = masses(&summaries(&target, width), width).collect();
    let draft_mass: Vec<_> = masses(&summaries(&draft, width), width).collect();
    let mut scores = vec![0.0; target.len() * width];
    let left = update_chunks(&mut scores, width, |row, columns, out| {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let target = target[row].read(columns.clone(), &mut first);
        let draft = draft[row].read(columns, &mut second);
        subtract((target, target_mass[row]), (draft, draft_mass[row]), out)
    });
    let is_left: Vec<_> = left.chunks(chunks(width).max(1)).map(|row| row.contains(&true)).collect();
    for (row, out) in scores.chunks_mut(width.max(1)).enumerate() {
        if !is_left[row] {
            normalize(target[row].read(0..width, &mut Vec::new()), target_mass[row], out);
        }
    }
    HostTensor::from_rows(scores, width)
}

/// Whether anything is left, or the row is unsound and all NaN.
fn subtract((target, t): (&[f32], Mass), (draft, d): (&[f32], Mass), out: &mut [f32]) -> bool {
    if !(t.is_sound() && d.is_sound()) {
        out.fill(f32::NAN);
        return true;
    }
    let (t_scale, d_scale) = (t.sum.recip() as f32, d.sum.recip() as f32);
    let mut largest = 0.0;
    for ((out, x), y) in out.iter_mut().zip(target).zip(draft) {
        let difference = exp(x - t.max) * t_scale - exp(y - d.max) * d_scale;
        largest = if difference > largest { difference } else { largest };
        *out = ln(if difference > 0.0 { difference } else { 0.0 });
    }
    largest >= f32::MIN_POSITIVE
}
