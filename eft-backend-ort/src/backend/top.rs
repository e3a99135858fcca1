//! The first tokens of each score row in the total order.
use eft_core::{Pick, Result};

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::softmax::Softmax;
use super::tensor::{integers, output_picks, picks};

/// The first `k` tokens of each row that have a probability above zero; one NaN for an unsound row.
pub(super) fn top(runtime: &Runtime, rows: Rows, k: usize) -> Result<Vec<Vec<Pick>>> {
    // At least one token is read, so that an unsound row shows even if `k` is 0.
    let count = k.clamp(1, rows.width());
    let mut picks = top_k(runtime, rows, count)?;
    for picks in &mut picks {
        match picks.first() {
            Some(first) if first.log_prob.is_nan() => picks.truncate(1),
            _ => {
                picks.truncate(k);
                picks.retain(|pick| pick.log_prob > f32::NEG_INFINITY);
            }
        }
    }
    Ok(picks)
}

/// The first `count` tokens of each row, whatever their probability, for `count` from 1 to the width.
pub(super) fn top_k(runtime: &Runtime, rows: Rows, count: usize) -> Result<Vec<Vec<Pick>>> {
    let width = rows.width();
    let k = integers([1], vec![count as i64])?;
    let values = runtime.run(Operation::Top, &[rows], &[k], |graph, rows| write(graph, rows[0], width))?;
    picks(&values, count)
}

/// Argument: k, `(1)`. Outputs: tokens and log-probs in the total order, `(n, k)` each.
fn write(graph: &mut GraphBuilder, scores: Var, width: usize) {
    let k = graph.argument(Dtype::I64, 1);
    let softmax = Softmax::of(graph, scores, width);
    let (values, tokens) = graph.top_k(scores, k);
    let shifted = graph.sub(values, softmax.max);
    let log_probs = graph.sub(shifted, softmax.log_sum);
    output_picks(graph, tokens, log_probs);
}
