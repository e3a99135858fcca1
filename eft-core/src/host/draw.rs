//! Drawing a token by inverting the distribution function in the order of ids.
use super::Host;
use super::exp::exp;
use super::parallel::{CHUNK, chunks};
use super::softmax::{Mass, Summary, summaries};
use super::tensor::Scores;
use crate::backend::{Pick, Row, check_rows, check_same_length, check_uniforms};
use crate::{Result, TokenId};

pub(super) fn draw(host: &Host, rows: &[Row<'_, Host>], uniforms: &[f64], width: usize) -> Result<Vec<Pick>> {
    check_rows(host, "draw", rows, width)?;
    check_same_length("draw", rows.len(), uniforms.len())?;
    check_uniforms(uniforms)?;
    let rows = Scores::of_all(rows, width);
    let summaries = summaries(&rows, width);
    let draws = rows.iter().zip(uniforms).zip(summaries.chunks(chunks(width).max(1)));
    Ok(draws.map(|((row, uniform), chunks)| draw_one(row, *uniform, chunks, width)).collect())
}

fn draw_one(row: &Scores<'_>, uniform: f64, summaries: &[Summary], width: usize) -> Pick {
    let mass = Mass::total(summaries.iter().map(|chunk| chunk.mass));
    if !mass.is_sound() {
        return Pick { token: 0, log_prob: f32::NAN };
    }
    let sums = summaries.iter().map(|chunk| chunk.mass.relative_to(mass.max));
    let (chunk, below) = invert(sums, uniform * mass.sum);
    let columns = chunk * CHUNK..width.min((chunk + 1) * CHUNK);
    // Relative to the chunk's own largest score, where even an unlikely chunk has tokens that do not vanish.
    let part = summaries[chunk].mass;
    let target = (uniform * mass.sum - below) / part.relative_to(mass.max) * part.sum;
    let mut buffer = Vec::new();
    let scores = row.read(columns.clone(), &mut buffer);
    let (index, _) = invert(scores.iter().map(|x| f64::from(exp(x - part.max))), target);
    Pick { token: (columns.start + index) as TokenId, log_prob: mass.log_prob(scores[index]) }
}

/// The first weight at which the running sum exceeds `target`, or the last weight above zero if rounding keeps the
/// sum from it; and the sum of the weights before.
fn invert(weights: impl Iterator<Item = f64>, target: f64) -> (usize, f64) {
    let (mut found, mut sum) = ((0, 0.0), 0.0);
    for (i, weight) in weights.enumerate() {
        if weight > 0.0 {
            found = (i, sum);
            sum += weight;
            if sum > target {
                break;
            }
        }
    }
    found
}
