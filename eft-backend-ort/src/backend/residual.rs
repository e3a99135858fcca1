//! The distribution from which speculative decoding draws after a rejection.
use eft_core::Result;

use super::graph_builder::{GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::softmax::Softmax;
use super::tensor::Tensor;

/// `log max(softmax(target) − softmax(draft), 0)`, or `log_softmax(target)` where the distributions are equal.
pub(super) fn residual(runtime: &Runtime, target: Rows, draft: Rows) -> Result<Tensor> {
    let width = target.width();
    runtime.tensor(Operation::Residual, &[target, draft], &[], |graph, rows| {
        write(graph, rows[0], rows[1], width)
    })
}

fn write(graph: &mut GraphBuilder, target: Var, draft: Var, width: usize) -> Var {
    let (target, draft) = (Softmax::of(graph, target, width), Softmax::of(graph, draft, width));
    let (target_log_probs, draft_log_probs) = (target.log_softmax(graph), draft.log_softmax(graph));
    let (p, q) = (graph.op("Exp", &[target_log_probs]), graph.op("Exp", &[draft_log_probs]));
    let difference = graph.sub(p, q);
    let difference = graph.op("Relu", &[difference]);
    let largest = graph.max(difference);
    let smallest_normal = graph.float(f32::MIN_POSITIVE);
    let differs = graph.greater_or_equal(largest, smallest_normal);
    let log = graph.op("Log", &[difference]);
    let residual = graph.where_cond(differs, log, target_log_probs);
    // A comparison with NaN is false, so the choice above can hide an unsound row.
    let nans = [target.zero_or_nan(graph), draft.zero_or_nan(graph)];
    let residual = graph.add(residual, nans[0]);
    graph.add(residual, nans[1])
}
