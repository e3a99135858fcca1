//! Normalisers, and what follows from them directly: log-softmax, log-probabilities, the likeliest token.
use super::exp::{EXP_ZERO, exp};
use super::parallel::{CHUNK, chunks, fill, map_chunks};
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::backend::{Pick, Row, check_rows, check_same_length, check_tokens};
use crate::{Result, TokenId};

/// Entries whose maximum is kept, so that later passes can skip them.
pub(super) const BLOCK: usize = 256;
/// Sums and maxima run in this many independent lanes, for the compiler to make vectors of.
const LANES: usize = 16;

/// The exponentials of some scores, summed: `sum · exp(max)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mass {
    /// The largest score; NaN does not count.
    pub(super) max: f32,
    /// `Σ exp(x − max)`; NaN if any score is.
    pub(super) sum: f64,
}

impl Mass {
    /// Of no scores at all.
    const NONE: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Of all the scores that the parts are of.
    pub(super) fn total(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let max = parts.clone().fold(Self::NONE.max, |max, part| if part.max > max { part.max } else { max });
        Self { max, sum: parts.map(|part| part.relative_to(max)).sum() }
    }

    /// The sum as a multiple of `exp(max)`, for a `max` no less than this one's.
    pub(super) fn relative_to(self, max: f32) -> f64 {
        if self.max == max { self.sum } else { self.sum * (f64::from(self.max) - f64::from(max)).exp() }
    }

    /// No NaN, no +∞, something finite.
    pub(super) fn is_sound(self) -> bool {
        self.max.is_finite() && !self.sum.is_nan()
    }

    /// The log-probability of a score; NaN in an unsound row.
    pub(super) fn log_prob(self, score: f32) -> f32 {
        if !self.is_sound() {
            return f32::NAN;
        }
        (f64::from(score) - f64::from(self.max) - self.sum.ln()) as f32
    }

    fn log_normalizer(self) -> f32 {
        if self.sum.is_nan() || self.max == f32::INFINITY {
            return f32::NAN;
        }
        (f64::from(self.max) + self.sum.ln()) as f32
    }
}

/// What one pass over a chunk finds out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) mass: Mass,
    /// The largest score of each block of [`BLOCK`], −∞ past the end.
    pub(super) maxima: [f32; CHUNK / BLOCK],
}

/// Of at most [`CHUNK`] scores.
pub(super) fn summarize(scores: &[f32]) -> Summary {
    let mut maxima = [f32::NEG_INFINITY; CHUNK / BLOCK];
    let mut nan = false;
    for (max, block) in maxima.iter_mut().zip(scores.chunks(BLOCK)) {
        let (block_max, block_nan) = maximum(block);
        *max = block_max;
        nan |= block_nan;
    }
    let max = maxima.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    if nan || !max.is_finite() {
        return Summary { mass: Mass { max, sum: if nan { f64::NAN } else { 0.0 } }, maxima };
    }
    let blocks = scores.chunks(BLOCK).zip(&maxima).filter(|(_, block_max)| **block_max - max >= EXP_ZERO);
    let sum = blocks.map(|(block, _)| f64::from(sum_exp(block, max))).sum();
    Summary { mass: Mass { max, sum }, maxima }
}

/// The largest score, NaN apart, and whether there is NaN.
fn maximum(scores: &[f32]) -> (f32, bool) {
    let (groups, rest) = scores.as_chunks::<LANES>();
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    for group in groups {
        for lane in 0..LANES {
            max[lane] = if group[lane] > max[lane] { group[lane] } else { max[lane] };
            nan[lane] |= group[lane].is_nan();
        }
    }
    let all = max.iter().chain(rest);
    let max = all.fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    (max, nan.contains(&true) || rest.iter().any(|x| x.is_nan()))
}

/// `Σ exp(x − max)` of at most [`BLOCK`] scores: so few may be summed in `f32`.
fn sum_exp(scores: &[f32], max: f32) -> f32 {
    let (groups, rest) = scores.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        for lane in 0..LANES {
            sums[lane] += exp(group[lane] - max);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| exp(x - max)).sum::<f32>()
}

/// The summaries of each row's chunks, [`chunks`] a row.
pub(super) fn summaries(rows: &[Scores<'_>], width: usize) -> Vec<Summary> {
    map_chunks(rows.len(), width, |row, columns| summarize(rows[row].read(columns, &mut Vec::new())))
}

/// The mass of each row, from the summaries of its chunks.
pub(super) fn masses<'s>(summaries: &'s [Summary], width: usize) -> impl Iterator<Item = Mass> + 's {
    summaries.chunks(chunks(width).max(1)).map(|row| Mass::total(row.iter().map(|chunk| chunk.mass)))
}

pub(super) fn log_softmax(host: &Host, rows: &[Row<'_, Host>], width: usize) -> Result<HostTensor> {
    check_rows(host, "log_softmax", rows, width)?;
    let rows = Scores::of_all(rows, width);
    let masses: Vec<_> = masses(&summaries(&rows, width), width).collect();
    let scores = fill(rows.len(), width, |row, columns, out| {
        normalize(rows[row].read(columns, &mut Vec::new()), masses[row], out);
    });
    HostTensor::from_rows(scores, width)
}

/// `out = scores − log Σ exp`, NaN if the row is unsound.
pub(super) fn normalize(scores: &[f32], mass: Mass, out: &mut [f32]) {
    let log_sum = if mass.is_sound() { mass.sum.ln() as f32 } else { f32::NAN };
    for (out, score) in out.iter_mut().zip(scores) {
        *out = (score - mass.max) - log_sum;
    }
}

pub(super) fn argmax(host: &Host, rows: &[Row<'_, Host>], width: usize) -> Result<Vec<Pick>> {
    check_rows(host, "argmax", rows, width)?;
    let rows = Scores::of_all(rows, width);
    let summaries = summaries(&rows, width);
    let picks = rows.iter().zip(summaries.chunks(chunks(width).max(1))).map(|(row, summaries)| {
        let mass = Mass::total(summaries.iter().map(|chunk| chunk.mass));
        let mut blocks = summaries.iter().enumerate().flat_map(|(chunk, summary)| {
            summary.maxima.iter().enumerate().map(move |(block, max)| (chunk * CHUNK + block * BLOCK, *max))
        });
        let start = blocks.find(|(_, max)| *max == mass.max).map_or(0, |(start, _)| start);
        let mut columns = start..width.min(start + BLOCK);
        let token = columns.find(|column| row.at(*column) == mass.max).unwrap_or(0);
        Pick { token: token as TokenId, log_prob: mass.log_prob(mass.max) }
    });
    Ok(picks.collect())
}

pub(super) fn log_probs(
    host: &Host,
    rows: &[Row<'_, Host>],
    tokens: &[Vec<TokenId>],
    width: usize,
) -> Result<Vec<Vec<f32>>> {
    check_rows(host, "log_probs", rows, width)?;
    check_same_length("log_probs", rows.len(), tokens.len())?;
    check_tokens("log_probs", tokens.iter().map(Vec::as_slice), width)?;
    let rows = Scores::of_all(rows, width);
    let summaries = summaries(&rows, width);
    let lists = rows.iter().zip(tokens).zip(masses(&summaries, width));
    Ok(lists
        .map(|((row, tokens), mass)| tokens.iter().map(|t| mass.log_prob(row.at(*t as usize))).collect())
        .collect())
}

pub(super) fn log_normalizers(host: &Host, rows: &[Row<'_, Host>], width: usize) -> Result<Vec<f32>> {
    check_rows(host, "log_normalizers", rows, width)?;
    let summaries = summaries(&Scores::of_all(rows, width), width);
    Ok(masses(&summaries, width).map(Mass::log_normalizer).collect())
}
