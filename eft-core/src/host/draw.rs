//! Drawing a token by inverting the cumulative distribution function in the order of ids.
use super::math::exp;
use super::parallel::{CHUNK, by_row, map};
use super::summary::{BLOCK, Mass, Summary, block_sums};
use super::tensor::{Host, RowView};
use crate::backend::{Pick, ScoreRow, check_rows, check_same_length, check_uniforms};
use crate::{Result, TokenId};

pub(super) fn draw(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    uniforms: &[f64],
    width: usize,
) -> Result<Vec<Pick>> {
    check_rows(host, "draw", rows, width)?;
    check_same_length("draw", rows.len(), uniforms.len())?;
    check_uniforms(uniforms)?;
    let rows = RowView::of_all(rows, width);
    let summaries = Summary::of_rows(&rows, width);
    let draws: Vec<_> = rows.iter().zip(uniforms).zip(by_row(&summaries, width)).collect();
    let entries = rows.len() * width.min(CHUNK);
    Ok(map(draws, entries, |((row, uniform), summaries)| draw_one(row, *uniform, summaries, width)))
}

/// Finds the chunk, then the block in the chunk, then the token in the block.
fn draw_one(row: &RowView<'_>, uniform: f64, summaries: &[Summary], width: usize) -> Pick {
    let mass = Mass::of(summaries);
    if !mass.is_sound() {
        return Pick { token: 0, log_prob: f32::NAN };
    }
    let target = uniform * mass.sum;
    let (chunk, target) = invert(summaries.iter().map(|chunk| chunk.mass.relative_to(mass.max)), target);
    // Weights are relative to the largest score of the chunk, so that they do not underflow in an unlikely chunk.
    let part = summaries[chunk].mass;
    let target = target / part.relative_to(mass.max) * part.sum;
    let start = chunk * CHUNK;
    let mut buffer = Vec::new();
    let scores = row.read(start..width.min(start + CHUNK), &mut buffer);
    let (block, target) = invert(block_sums(scores, part.max).into_iter().map(f64::from), target);
    let weights = scores[block * BLOCK..].iter().take(BLOCK).map(|x| f64::from(exp(x - part.max)));
    let column = block * BLOCK + invert(weights, target).0;
    Pick { token: (start + column) as TokenId, log_prob: mass.log_prob(scores[column]) }
}

/// Returns the index of the first weight at which the running sum exceeds `target`, and `target` minus the sum before
/// it. If rounding keeps the sum at or below `target`, it is the last weight above zero.
fn invert(weights: impl Iterator<Item = f64>, target: f64) -> (usize, f64) {
    let (mut found, mut sum) = ((0, target), 0.0);
    for (i, weight) in weights.enumerate() {
        if weight > 0.0 {
            found = (i, target - sum);
            sum += weight;
            if sum > target {
                break;
            }
        }
    }
    found
}
