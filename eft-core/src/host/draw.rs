//! Drawing a token by inverting the distribution function in the order of ids.
use super::Host;
use super::exp::exp;
use super::parallel::{CHUNK, by_row, map};
use super::summary::{BLOCK, Mass, Summary, block_sums};
use super::tensor::Scores;
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
    let rows = Scores::of_all(rows, width);
    let summaries = Summary::of_rows(&rows, width);
    let draws: Vec<_> = rows.iter().zip(uniforms).zip(by_row(&summaries, width)).collect();
    let entries = rows.len() * width.min(CHUNK);
    Ok(map(draws, entries, |((row, uniform), summaries)| draw_one(row, *uniform, summaries, width)))
}

/// Finds the chunk, in it the block, and in that the token.
fn draw_one(row: &Scores<'_>, uniform: f64, summaries: &[Summary], width: usize) -> Pick {
    let mass = Mass::of(summaries);
    if !mass.is_sound() {
        return Pick { token: 0, log_prob: f32::NAN };
    }
    let target = uniform * mass.sum;
    let (chunk, target) = invert(summaries.iter().map(|chunk| chunk.mass.relative_to(mass.max)), target);
    // Relative to the chunk's own largest score, where even an unlikely chunk has tokens that do not vanish.
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

/// The first weight at which the running sum exceeds `target`, or the last weight above zero if rounding keeps the
/// sum from it; and what is left of the target before that weight.
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
