//! Bounds on finite scores.
use eft_core::Result;

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::tensor::{Tensor, value};

/// Clamps finite scores to `[low, high]`; −∞, +∞ and NaN are unchanged.
pub(super) fn clamp(runtime: &Runtime, rows: Rows, low: f32, high: f32) -> Result<Tensor> {
    let bounds = [value([1, 1], vec![low])?, value([1, 1], vec![high])?];
    runtime.tensor(Operation::Clamp, &[rows], &bounds, |graph, rows| write(graph, rows[0]))
}

/// Arguments: the lower and the upper bound, `(1, 1)` each.
fn write(graph: &mut GraphBuilder, scores: Var) -> Var {
    let (low, high) = (graph.argument(Dtype::F32, 2), graph.argument(Dtype::F32, 2));
    let raised = graph.op("Max", &[scores, low]);
    let clamped = graph.op("Min", &[raised, high]);
    // A comparison with NaN is false, so NaN counts as not finite.
    let magnitude = graph.op("Abs", &[scores]);
    let largest = graph.float(f32::MAX);
    let finite = graph.op("LessOrEqual", &[magnitude, largest]);
    graph.where_cond(finite, clamped, scores)
}
