//! Operations that return chosen tokens, or the log-probs of given ones.
use eft_core::{Pick, Result, TokenId};

use super::graph_builder::{Dtype, GraphBuilder, Placement, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::softmax::Softmax;
use super::tensor::{integers, numbers, output_picks, picks, value};
use super::top::top_k;

/// The first token of each row in the total order.
pub(super) fn argmax(runtime: &Runtime, rows: Rows) -> Result<Vec<Pick>> {
    Ok(top_k(runtime, rows, 1)?.concat())
}

/// A token of each row, drawn with the row's uniform.
pub(super) fn draw(runtime: &Runtime, rows: Rows, uniforms: &[f64]) -> Result<Vec<Pick>> {
    let width = rows.width();
    let uniforms = value([uniforms.len(), 1], uniforms.to_vec())?;
    let values = runtime
        .run(Operation::Draw, &[rows], &[uniforms], |graph, rows| write_draw(graph, rows[0], width))?;
    Ok(picks(&values, 1)?.concat())
}

/// Argument: the uniforms, `(n, 1)` of `f64`. Outputs: a token and its log-prob for each row, `(n, 1)`.
///
/// The block is found by the cumulative sums of whole blocks, then the column by those within the block.
fn write_draw(graph: &mut GraphBuilder, scores: Var, width: usize) {
    let uniforms = graph.argument(Dtype::F64, 2);
    let softmax = Softmax::of(graph, scores, width);
    let (count, columns) = (softmax.count, softmax.columns);
    let block_sums = graph.cast(softmax.block_sums, Dtype::F64);
    let cumulative = graph.cumsum(block_sums, false);
    let total = graph.slice_columns(cumulative, count - 1, count);
    let target = graph.mul(total, uniforms);
    let block = first_above(graph, block_sums, cumulative, target, count);
    let (end, sum) = (graph.gather_columns(cumulative, block), graph.gather_columns(block_sums, block));
    let start = graph.sub(end, sum);
    let target = graph.sub(target, start);
    let weights = graph.op_with("GatherND", &[softmax.blocks, block], &[("batch_dims", 1)]);
    let weights = graph.cast(weights, Dtype::F64);
    let cumulative = graph.cumsum(weights, false);
    let column = first_above(graph, weights, cumulative, target, columns);
    let columns = graph.integer(columns);
    let block_start = graph.mul(block, columns);
    let token = graph.add(block_start, column);
    let shifted = graph.gather_columns(softmax.shifted, token);
    let log_prob = graph.sub(shifted, softmax.log_sum);
    output_picks(graph, token, log_prob);
}

/// The first of `count` columns at which the cumulative sum of the weights exceeds the row's target, `(n, 1)`.
///
/// If rounding keeps the sum from the target, it is the last column of positive weight; 0 if no weight is positive.
/// The result is always a valid column, `(n, 1)`.
fn first_above(graph: &mut GraphBuilder, weights: Var, cumulative: Var, target: Var, count: usize) -> Var {
    let end = graph.integer(count);
    let ids = graph.range(end);
    // Rounding can make the sum exceed the target at a column of weight zero, which must never be drawn.
    let zero = graph.float(0.0);
    let zero = graph.cast(zero, Dtype::F64);
    let positive = graph.greater(weights, zero);
    let first_id = graph.integer(0);
    let last = graph.where_cond(positive, ids, first_id);
    let last = graph.max(last);
    let exceeds = graph.greater(cumulative, target);
    let exceeds = graph.and(exceeds, positive);
    let found = graph.where_cond(exceeds, ids, end);
    let found = graph.min(found);
    let is_found = graph.less(found, end);
    graph.where_cond(is_found, found, last)
}

/// The log-probs of the given tokens, one list for each row.
pub(super) fn log_probs(runtime: &Runtime, rows: Rows, tokens: &[Vec<TokenId>]) -> Result<Vec<Vec<f32>>> {
    let width = rows.width();
    let requested =
        || tokens.iter().enumerate().flat_map(|(row, tokens)| tokens.iter().map(move |t| (row, *t)));
    let count = [requested().count()];
    let entries = requested().map(|(row, token)| (row * width + token as usize) as i64).collect();
    let owners = requested().map(|(row, _)| row as i64).collect();
    let arguments = [integers(count, entries)?, integers(count, owners)?];
    let values = runtime.run(Operation::LogProbs, &[rows], &arguments, |graph, rows| {
        write_log_probs(graph, rows[0], width);
    })?;
    let mut numbers = numbers(&values)?.into_iter();
    Ok(tokens.iter().map(|tokens| numbers.by_ref().take(tokens.len()).collect()).collect())
}

/// Arguments: indices into the flattened rows, and the row of each, `(m)`. Output: the log-probs, `(m)`.
fn write_log_probs(graph: &mut GraphBuilder, scores: Var, width: usize) {
    let (entries, rows) = (graph.argument(Dtype::I64, 1), graph.argument(Dtype::I64, 1));
    let softmax = Softmax::of(graph, scores, width);
    let (shifted, log_sums) = (graph.reshape(softmax.shifted, &[-1]), graph.reshape(softmax.log_sum, &[-1]));
    let (shifted, log_sums) = (graph.gather_rows(shifted, entries), graph.gather_rows(log_sums, rows));
    let log_probs = graph.sub(shifted, log_sums);
    graph.output(log_probs, Dtype::F32, 1, Placement::Host);
}
