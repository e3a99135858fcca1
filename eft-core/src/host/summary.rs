//! Statistics of a score row, computed in one pass: its largest score, the sum of its exponentials, and whether it is
//! sound.
use super::math::{EXP_ZERO, exp};
use super::parallel::{CHUNK, by_row, map_chunks};
use super::tensor::RowView;
use super::vector::vectorized;

/// The number of columns in a block. The maximum of each block is kept, so that later passes can skip blocks.
pub(super) const BLOCK: usize = 512;
/// The number of independent lanes for sums and maxima, which the compiler turns into vectors.
const LANES: usize = 16;

/// The sum of the exponentials of some scores, as `sum · exp(max)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mass {
    /// The largest score that is not NaN.
    pub(crate) max: f32,
    /// `Σ exp(x − max)`; NaN if any score is NaN.
    pub(crate) sum: f64,
}

impl Mass {
    /// Computes the mass of several chunks together.
    pub(super) fn of(chunks: &[Summary]) -> Self {
        let max = chunks.iter().fold(f32::NEG_INFINITY, |max, chunk| larger(max, chunk.mass.max));
        Self { max, sum: chunks.iter().map(|chunk| chunk.mass.relative_to(max)).sum() }
    }

    /// Computes the mass of any number of scores on the calling thread.
    pub(crate) fn of_scores(scores: &[f32]) -> Self {
        let none = Self { max: f32::NEG_INFINITY, sum: 0.0 };
        scores.chunks(CHUNK).fold(none, |all, chunk| {
            let chunk = Summary::of(chunk).mass;
            let max = larger(all.max, chunk.max);
            Self { max, sum: all.relative_to(max) + chunk.relative_to(max) }
        })
    }

    /// Returns the logarithm of the sum of the exponentials.
    pub(crate) fn log(self) -> f64 {
        if self.max.is_finite() { f64::from(self.max) + self.sum.ln() } else { f64::from(self.max) }
    }

    /// Returns the sum as a multiple of `exp(max)`, for a `max` that is at least as large as this one's.
    pub(crate) fn relative_to(self, max: f32) -> f64 {
        if self.max == max { self.sum } else { self.sum * (f64::from(self.max) - f64::from(max)).exp() }
    }

    /// Returns whether there is no NaN, no +∞ and at least one finite score.
    pub(super) fn is_sound(self) -> bool {
        self.max.is_finite() && !self.sum.is_nan()
    }

    /// Returns the log-probability of a score; NaN in an unsound row.
    pub(super) fn log_prob(self, score: f32) -> f32 {
        if !self.is_sound() {
            return f32::NAN;
        }
        (f64::from(score) - f64::from(self.max) - self.sum.ln()) as f32
    }
}

/// The statistics of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) mass: Mass,
    /// The largest score of each block; −∞ past the end of the row.
    pub(super) maxima: [f32; CHUNK / BLOCK],
}

impl Summary {
    /// Computes the statistics of at most [`CHUNK`] scores.
    pub(super) fn of(scores: &[f32]) -> Self {
        vectorized(
            #[inline(always)]
            || {
                let mut summary = extremes(scores);
                if summary.mass.max.is_finite() {
                    let max = summary.mass.max;
                    let blocks = scores.chunks(BLOCK).zip(&summary.maxima);
                    for (block, block_max) in blocks {
                        if *block_max - max >= EXP_ZERO {
                            summary.mass.sum += f64::from(sum_exp(block, max));
                        }
                    }
                }
                summary
            },
        )
    }

    /// The same without the sum, which is then 0, or NaN if a score is NaN.
    pub(super) fn extremes(scores: &[f32]) -> Self {
        vectorized(
            #[inline(always)]
            || extremes(scores),
        )
    }

    /// Computes the statistics of each chunk of each row.
    pub(super) fn of_rows(rows: &[RowView<'_>], width: usize) -> Vec<Self> {
        map_chunks(rows.len(), width, |row, columns| Self::of(rows[row].read(columns, &mut Vec::new())))
    }
}

/// Returns the mass of each row.
pub(super) fn masses(rows: &[RowView<'_>], width: usize) -> Vec<Mass> {
    by_row(&Summary::of_rows(rows, width), width).map(Mass::of).collect()
}

/// Returns the sum of the exponentials of each block, added up in the same order as in [`Summary::of`].
pub(super) fn block_sums(scores: &[f32], max: f32) -> [f32; CHUNK / BLOCK] {
    let mut sums = [0.0; CHUNK / BLOCK];
    vectorized(
        #[inline(always)]
        || {
            for (sum, block) in sums.iter_mut().zip(scores.chunks(BLOCK)) {
                *sum = sum_exp(block, max);
            }
        },
    );
    sums
}

/// Returns the larger number, or `max` if `x` is NaN.
#[inline(always)]
fn larger(max: f32, x: f32) -> f32 {
    if x > max { x } else { max }
}

#[inline(always)]
fn extremes(scores: &[f32]) -> Summary {
    let mut maxima = [f32::NEG_INFINITY; CHUNK / BLOCK];
    let mut nan = false;
    for (max, block) in maxima.iter_mut().zip(scores.chunks(BLOCK)) {
        let (block_max, block_nan) = maximum(block);
        *max = block_max;
        nan |= block_nan;
    }
    let max = maxima.into_iter().fold(f32::NEG_INFINITY, larger);
    Summary { mass: Mass { max, sum: if nan { f64::NAN } else { 0.0 } }, maxima }
}

/// Returns the largest score that is not NaN, and whether any score is NaN.
#[inline(always)]
fn maximum(scores: &[f32]) -> (f32, bool) {
    let (groups, rest) = scores.as_chunks::<LANES>();
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    for group in groups {
        for lane in 0..LANES {
            max[lane] = larger(max[lane], group[lane]);
            nan[lane] |= group[lane].is_nan();
        }
    }
    let max = max.iter().chain(rest).fold(f32::NEG_INFINITY, |max, x| larger(max, *x));
    (max, nan.contains(&true) || rest.iter().any(|x| x.is_nan()))
}

/// Returns `Σ exp(x − max)` of at most [`BLOCK`] scores, few enough to be summed in `f32`.
#[inline(always)]
fn sum_exp(scores: &[f32], max: f32) -> f32 {
    let (groups, rest) = scores.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        // The exponentials have a separate loop; otherwise the compiler does not vectorise them.
        let mut weights = [0.0; LANES];
        for lane in 0..LANES {
            weights[lane] = exp(group[lane] - max);
        }
        for lane in 0..LANES {
            sums[lane] += weights[lane];
        }
    }
    for x in rest {
        sums[0] += exp(x - max);
    }
    sums.iter().sum()
}
