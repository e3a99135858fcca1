//! Changes of single scores.
use super::parallel::map;
use super::tensor::{Host, HostTensor};
use crate::Result;
use crate::backend::{Edit, ScoreRow, TokenMask, check_edits, check_same_length};

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
            // All scores are read before any is written, so that a token named twice is penalised once.
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
            // −∞ is added and not assigned, so that an excluded NaN or +∞ still makes the row unsound.
            *score += if word >> bit & 1 == 1 { 0.0 } else { f32::NEG_INFINITY };
        }
    }
}
