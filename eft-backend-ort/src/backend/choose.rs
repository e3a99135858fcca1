//! Score rows composed of two others.
use eft_core::Result;

use super::graph_builder::{GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::tensor::Tensor;

/// `inside` where `kept` is above −∞, else `outside` (−∞ if `None`); NaN where `kept` is NaN.
pub(super) fn choose(runtime: &Runtime, kept: Rows, inside: Rows, outside: Option<Rows>) -> Result<Tensor> {
    let operation = Operation::Choose { outside: outside.is_some() };
    let rows: Vec<_> = [kept, inside].into_iter().chain(outside).collect();
    runtime.tensor(operation, &rows, &[], |graph, rows| write(graph, rows[0], rows[1], rows.get(2).copied()))
}

fn write(graph: &mut GraphBuilder, kept: Var, inside: Var, outside: Option<Var>) -> Var {
    let excluded = graph.float(f32::NEG_INFINITY);
    let is_kept = graph.greater(kept, excluded);
    let chosen = graph.where_cond(is_kept, inside, outside.unwrap_or(excluded));
    let nan = graph.op("IsNaN", &[kept]);
    graph.where_cond(nan, kept, chosen)
}
