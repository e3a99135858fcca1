//! Operations that need the normaliser: log-softmax, log-probabilities, the likeliest token.
use super::parallel::{CHUNK, by_row, fill};
use super::summary::{BLOCK, Mass, Summary, masses};
use super::tensor::{Host, HostTensor, RowView};
use super::vector::vectorized;
use crate::backend::{Pick, ScoreRow, check_rows, check_same_length, check_tokens};
use crate::{Result, TokenId};

pub(super) fn log_softmax(host: &Host, rows: &[ScoreRow<'_, Host>], width: usize) -> Result<HostTensor> {
    check_rows(host, "log_softmax", rows, width)?;
    let rows = RowView::of_all(rows, width);
    let masses = masses(&rows, width);
    let scores = fill(rows.len(), width, |row, columns, out| {
        normalize(rows[row].read(columns, &mut Vec::new()), masses[row], out);
    });
    HostTensor::from_rows(scores, width)
}

/// Computes `out = scores − log Σ exp scores`; NaN if the row is unsound.
pub(super) fn normalize(scores: &[f32], mass: Mass, out: &mut [f32]) {
    let log_sum = if mass.is_sound() { mass.sum.ln() as f32 } else { f32::NAN };
    vectorized(
        #[inline(always)]
        || {
            for (out, score) in out.iter_mut().zip(scores) {
                *out = (score - mass.max) - log_sum;
            }
        },
    );
}

pub(super) fn argmax(host: &Host, rows: &[ScoreRow<'_, Host>], width: usize) -> Result<Vec<Pick>> {
    check_rows(host, "argmax", rows, width)?;
    let rows = RowView::of_all(rows, width);
    let summaries = Summary::of_rows(&rows, width);
    let picks = rows.iter().zip(by_row(&summaries, width)).map(|(row, summaries)| {
        let mass = Mass::of(summaries);
        let chunk = summaries.iter().position(|chunk| chunk.mass.max == mass.max).unwrap_or(0);
        let block = summaries[chunk].maxima.iter().position(|max| *max == mass.max).unwrap_or(0);
        let start = chunk * CHUNK + block * BLOCK;
        let token = (start..width.min(start + BLOCK)).find(|column| row.at(*column) == mass.max).unwrap_or(0);
        Pick { token: token as TokenId, log_prob: mass.log_prob(mass.max) }
    });
    Ok(picks.collect())
}

pub(super) fn log_probs(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    tokens: &[Vec<TokenId>],
    width: usize,
) -> Result<Vec<Vec<f32>>> {
    check_rows(host, "log_probs", rows, width)?;
    check_same_length("log_probs", rows.len(), tokens.len())?;
    check_tokens("log_probs", tokens.iter().map(Vec::as_slice), width)?;
    let rows = RowView::of_all(rows, width);
    let lists = rows.iter().zip(tokens).zip(masses(&rows, width)).map(|((row, tokens), mass)| {
        tokens.iter().map(|token| mass.log_prob(row.at(*token as usize))).collect()
    });
    Ok(lists.collect())
}

pub(super) fn log_normalizers(host: &Host, rows: &[ScoreRow<'_, Host>], width: usize) -> Result<Vec<f32>> {
    check_rows(host, "log_normalizers", rows, width)?;
    let masses = masses(&RowView::of_all(rows, width), width);
    Ok(masses.into_iter().map(log_normalizer).collect())
}

fn log_normalizer(mass: Mass) -> f32 {
    if mass.sum.is_nan() || mass.max == f32::INFINITY {
        return f32::NAN;
    }
    mass.log() as f32
}
