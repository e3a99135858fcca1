//! Softmax and its normaliser, from which most other operations start.
use eft_core::Result;

use super::graph_builder::{Dtype, GraphBuilder, Placement, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::tensor::{Tensor, numbers};

/// The number of columns in a block. Sums are taken by blocks, since a long sum of `f32` loses digits.
const BLOCK: usize = 512;

/// The parts of a softmax, for `n` rows of `width` scores.
pub(super) struct Softmax {
    /// The largest score of each row, `(n, 1)`.
    pub(super) max: Var,
    /// `scores − max`, `(n, width)`.
    pub(super) shifted: Var,
    /// The weights `exp(scores − max)` by blocks, the last one padded with zeros: `(n, count, columns)`.
    pub(super) blocks: Var,
    /// The number of blocks in a row.
    pub(super) count: usize,
    /// The number of columns in a block.
    pub(super) columns: usize,
    /// The sum of each block's weights, `(n, count)`.
    pub(super) block_sums: Var,
    /// `Σ weights`, `(n, 1)`.
    pub(super) sum: Var,
    /// `log Σ weights`, `(n, 1)`; NaN exactly for unsound rows.
    pub(super) log_sum: Var,
}

impl Softmax {
    pub(super) fn of(graph: &mut GraphBuilder, scores: Var, width: usize) -> Self {
        let max = graph.max(scores);
        let shifted = graph.sub(scores, max);
        let weights = graph.op("Exp", &[shifted]);
        let columns = width.min(BLOCK);
        let count = width.div_ceil(columns);
        let padding = graph.integer_list(&[0, 0, 0, (count * columns - width) as i64]);
        let padded = graph.op("Pad", &[weights, padding]);
        let blocks = graph.reshape(padded, &[-1, count as i64, columns as i64]);
        let block_sums = graph.sum(blocks);
        let block_sums = graph.reshape(block_sums, &[-1, count as i64]);
        let sum = graph.sum(block_sums);
        // An unsound row has a NaN once it is shifted, whether the maximum is NaN, ∞ or −∞. All other shifted scores
        // are at most 0, so their sum is not NaN. The sum of the weights cannot be used instead: a provider's
        // exponential may hide a NaN.
        let shifted_sum = graph.sum(shifted);
        let unsound = graph.op("IsNaN", &[shifted_sum]);
        let nan = graph.float(f32::NAN);
        let log = graph.op("Log", &[sum]);
        let log_sum = graph.where_cond(unsound, nan, log);
        Self { max, shifted, blocks, count, columns, block_sums, sum, log_sum }
    }

    pub(super) fn log_softmax(&self, graph: &mut GraphBuilder) -> Var {
        graph.sub(self.shifted, self.log_sum)
    }

    /// `(n, 1)`: 0 for sound rows and NaN for unsound ones. Added to a result, it makes that result unsound too.
    pub(super) fn zero_or_nan(&self, graph: &mut GraphBuilder) -> Var {
        let zero = graph.float(0.0);
        graph.mul(self.log_sum, zero)
    }
}

/// `rows − log Σ exp rows`.
pub(super) fn log_softmax(runtime: &Runtime, rows: Rows) -> Result<Tensor> {
    let width = rows.width();
    runtime.tensor(Operation::LogSoftmax, &[rows], &[], |graph, rows| {
        Softmax::of(graph, rows[0], width).log_softmax(graph)
    })
}

/// `log Σ exp rows`, one number for each row.
pub(super) fn log_normalizers(runtime: &Runtime, rows: Rows) -> Result<Vec<f32>> {
    let width = rows.width();
    let values = runtime.run(Operation::LogNormalizers, &[rows], &[], |graph, rows| {
        write_log_normalizers(graph, rows[0], width);
    })?;
    numbers(&values)
}

/// Output: `(n, 1)`.
fn write_log_normalizers(graph: &mut GraphBuilder, scores: Var, width: usize) {
    let softmax = Softmax::of(graph, scores, width);
    let excluded = graph.float(f32::NEG_INFINITY);
    let is_excluded = graph.op("Equal", &[scores, excluded]);
    let is_excluded = graph.cast(is_excluded, Dtype::F32);
    let all = graph.min(is_excluded);
    let all = graph.cast(all, Dtype::Bool);
    let normalizers = graph.add(softmax.max, softmax.log_sum);
    // A row of nothing but −∞ is unsound, but its normaliser is −∞ and not NaN.
    let normalizers = graph.where_cond(all, excluded, normalizers);
    graph.output(normalizers, Dtype::F32, 2, Placement::Host);
}
