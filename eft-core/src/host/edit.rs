//! Changes of single scores, and rows composed of two others.
use super::parallel::{fill, map};
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::Result;
use crate::backend::{Edit, ScoreRow, TokenMask, check_choice, check_edits, check_same_length};

pub(super) fn edit(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    edits: &[Vec<Edit>],
    width: usize,
) -> Result<HostTensor> {
    let mut scores = super::linear::download(host, rows, width)?;
    check_same_length("edit", rows.len(), edits.len())?;
    check_edits(edits, width)?;
    let entries = scores.len();
    let items: Vec<_> = scores.chunks_mut(width.max(1)).zip(edits).collect();
    map(items, entries, |(scores, edits)| edits.iter().for_each(|edit| apply(edit, scores)));
    HostTensor::from_rows(scores, width)
}

fn apply(edit: &Edit, scores: &mut [f32]) {
    match edit {
        Edit::Bias(biases) => biases.iter().for_each(|(token, bias)| scores[*token as usize] += bias),
        Edit::Repetition { tokens, penalty } => {
            let penalized = |x: f32| if x > 0.0 { x / penalty } else { x * penalty };
            // All are read before any is written, so that a token named twice is penalised once.
            let new: Vec<_> = tokens.iter().map(|token| penalized(scores[*token as usize])).collect();
            tokens.iter().zip(new).for_each(|(token, x)| scores[*token as usize] = x);
        }
        Edit::Allow(mask) => allow(mask, scores),
    }
}

fn allow(mask: &TokenMask, scores: &mut [f32]) {
    let words = mask.words().iter().copied().chain(std::iter::repeat(0));
    for (scores, word) in scores.chunks_mut(64).zip(words) {
        for (bit, score) in scores.iter_mut().enumerate() {
            // Added, so that NaN and +∞ stay unsound where they are excluded.
            *score += if word >> bit & 1 == 1 { 0.0 } else { f32::NEG_INFINITY };
        }
    }
}

pub(super) fn choose(
    host: &Host,
    kept: &[ScoreRow<'_, Host>],
    inside: &[ScoreRow<'_, Host>],
    outside: Option<&[ScoreRow<'_, Host>]>,
    width: usize,
) -> Result<HostTensor> {
    check_choice(host, kept, inside, outside, width)?;
    let kept = Scores::of_all(kept, width);
    let inside = Scores::of_all(inside, width);
    let outside = outside.map(|rows| Scores::of_all(rows, width));
    let scores = fill(kept.len(), width, |row, columns, out| {
        match &outside {
            Some(outside) => out.copy_from_slice(outside[row].read(columns.clone(), &mut Vec::new())),
            None => out.fill(f32::NEG_INFINITY),
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let kept = kept[row].read(columns.clone(), &mut first);
        let inside = inside[row].read(columns, &mut second);
        for ((out, kept), inside) in out.iter_mut().zip(kept).zip(inside) {
            let chosen = if *kept > f32::NEG_INFINITY { *inside } else { *out };
            *out = if kept.is_nan() { f32::NAN } else { chosen };
        }
    });
    HostTensor::from_rows(scores, width)
}
