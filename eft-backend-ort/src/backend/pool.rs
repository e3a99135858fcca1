//! Elementwise pools of log-probs: power mean, maximum and minimum.
use eft_core::{Pool, Result};

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::operation::Operation;
use super::rows::Rows;
use super::runtime::Runtime;
use super::softmax::Softmax;
use super::tensor::{Tensor, value};

/// Pools the rows of all terms; weights count for power means only.
pub(super) fn pool(runtime: &Runtime, terms: Vec<(f32, Rows)>, pool: Pool) -> Result<Tensor> {
    let (weights, rows): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
    let width = rows.first().map_or(0, Rows::width);
    match pool {
        Pool::Max => runtime.tensor(Operation::Max, &rows, &[], |graph, rows| {
            let pooled = graph.op("Max", rows);
            keep_unsound(graph, pooled, rows, width)
        }),
        Pool::Min => runtime.tensor(Operation::Min, &rows, &[], |graph, rows| {
            let pooled = graph.op("Min", rows);
            keep_unsound(graph, pooled, rows, width)
        }),
        Pool::Power(exponent) => {
            let numbers = std::iter::once(exponent).chain(weights);
            let arguments = numbers.map(|number| value([1, 1], vec![number])).collect::<Result<Vec<_>>>()?;
            runtime.tensor(Operation::PowerMean, &rows, &arguments, |graph, rows| {
                let pooled = power(graph, rows);
                keep_unsound(graph, pooled, rows, width)
            })
        }
    }
}

/// `(1/p)·log Σₖ wₖ·exp(p·xₖ)`. Arguments: `p` and the weights, `(1, 1)` each.
fn power(graph: &mut GraphBuilder, rows: &[Var]) -> Var {
    let exponent = graph.argument(Dtype::F32, 2);
    let scaled: Vec<_> = rows.iter().map(|rows| graph.mul(*rows, exponent)).collect();
    let max = graph.op("Max", &scaled);
    let weighted: Vec<_> = scaled
        .iter()
        .map(|scaled| {
            let shifted = graph.sub(*scaled, max);
            let weight = graph.argument(Dtype::F32, 2);
            let exp = graph.op("Exp", &[shifted]);
            graph.mul(exp, weight)
        })
        .collect();
    let sum = graph.op("Sum", &weighted);
    // Where the maximum is infinite the sum is NaN, and the maximum is the result.
    let infinite = graph.op("IsInf", &[max]);
    let (zero, log) = (graph.float(0.0), graph.op("Log", &[sum]));
    let log = graph.where_cond(infinite, zero, log);
    let pooled = graph.add(max, log);
    graph.div(pooled, exponent)
}

/// Makes the result of unsound rows unsound. A pool can hide them: the maximum a row of nothing but −∞, the minimum +∞.
fn keep_unsound(graph: &mut GraphBuilder, pooled: Var, rows: &[Var], width: usize) -> Var {
    rows.iter().fold(pooled, |pooled, rows| {
        let nan = Softmax::of(graph, *rows, width).zero_or_nan(graph);
        graph.add(pooled, nan)
    })
}
