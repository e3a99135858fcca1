//! Temperature, top-k, top-p and min-p.
//!
//! The tokens that stay are the first ones in the total order, a few hundred as a rule. So the graph looks at the first
//! `candidates` tokens only. If the last of them stays in some row, that row may keep more tokens, and the graph runs
//! again with more candidates.
use eft_core::{Error, Filter, Result};
use ort::value::DynValue;

use super::error::to_error;
use super::graph_builder::{Dtype, GraphBuilder, Placement, Var};
use super::operation::{FilterSteps, Operation, Temperature};
use super::rows::Rows;
use super::runtime::Runtime;
use super::softmax::Softmax;
use super::tensor::{Tensor, integers, value};

/// How many candidates are looked at in the first runs, before all tokens are.
const CANDIDATES: [usize; 2] = [256, 4096];

/// Divides by the temperature, and excludes the tokens that top-k, top-p and min-p drop.
pub(super) fn filter(runtime: &Runtime, rows: Rows, filter: &Filter) -> Result<Tensor> {
    let width = rows.width();
    let steps = FilterSteps::of(filter, width);
    if steps.temperature == Temperature::One && !steps.truncates() {
        return runtime.concat(&[rows]);
    }
    let rows = [rows];
    // With top-k, k candidates are enough.
    let counts = match filter.top_k.filter(|_| steps.top_k) {
        Some(k) => vec![k],
        None => CANDIDATES.into_iter().filter(|count| *count < width).chain([width]).collect(),
    };
    for candidates in counts {
        let arguments = arguments(filter, steps, candidates)?;
        let mut values = runtime.run(Operation::Filter(steps), &rows, &arguments, |graph, rows| {
            let filtered = write(graph, rows[0], width, steps);
            graph.output(filtered, Dtype::F32, 2, Placement::Device);
        })?;
        let filtered = values.pop();
        let more = match values.pop() {
            Some(more) if !steps.top_k && candidates < width => {
                more.try_extract_tensor::<bool>().map_err(to_error)?.1.contains(&true)
            }
            _ => false,
        };
        if let Some(filtered) = filtered.filter(|_| !more) {
            return Tensor::new(filtered);
        }
    }
    Err(Error::shape("outputs of a graph", "rows", "none"))
}

/// The arguments of the graph, in the order in which [`write`] declares them.
fn arguments(filter: &Filter, steps: FilterSteps, candidates: usize) -> Result<Vec<DynValue>> {
    let mut arguments = Vec::new();
    if steps.temperature != Temperature::One {
        arguments.push(value([1, 1], vec![filter.temperature])?);
    }
    if steps.truncates() {
        arguments.push(integers([1], vec![candidates as i64])?);
    }
    if let Some(k) = filter.top_k.filter(|_| steps.top_k) {
        arguments.push(integers([1, 1], vec![k as i64])?);
    }
    if let Some(p) = filter.top_p.filter(|_| steps.top_p) {
        arguments.push(value([1, 1], vec![f64::from(p)])?);
    }
    if let Some(p) = filter.min_p.filter(|_| steps.min_p) {
        arguments.push(value([1, 1], vec![p.ln()])?);
    }
    Ok(arguments)
}

/// Arguments, each only if its step is there: the temperature, `(1, 1)`; if anything truncates, the number of
/// candidates, `(1)`, then k, p in `f64` and the logarithm of min-p, `(1, 1)` each.
///
/// Returns the rows. If anything truncates, the first output says for each row whether its last candidate stays,
/// `(n, 1)`.
fn write(graph: &mut GraphBuilder, scores: Var, width: usize, steps: FilterSteps) -> Var {
    let scores = scale(graph, scores, steps.temperature);
    if !steps.truncates() {
        return scores;
    }
    let softmax = Softmax::of(graph, scores, width);
    let candidates = graph.argument(Dtype::I64, 1);
    let (values, indices) = graph.top_k(scores, candidates);
    let shifted = graph.sub(values, softmax.max);
    let excluded = graph.float(f32::NEG_INFINITY);
    let mut kept = graph.greater(values, excluded);
    let mut sum = softmax.sum;
    let mut weights = graph.op("Exp", &[shifted]);
    if steps.top_k {
        let count = graph.reshape(candidates, &[]);
        let rank = graph.range(count);
        let k = graph.argument(Dtype::I64, 2);
        let first = graph.less(rank, k);
        kept = graph.and(kept, first);
        let zero = graph.float(0.0);
        weights = graph.where_cond(kept, weights, zero);
        sum = graph.sum(weights);
    }
    if steps.top_p {
        let p = graph.argument(Dtype::F64, 2);
        // A long cumulative sum of `f32` loses digits.
        let (weights, sum) = (graph.cast(weights, Dtype::F64), graph.cast(sum, Dtype::F64));
        let before = graph.cumsum(weights, true);
        let needed = graph.mul(sum, p);
        let within = graph.less(before, needed);
        kept = graph.and(kept, within);
    }
    if steps.min_p {
        let bound = graph.argument(Dtype::F32, 2);
        let likely = graph.greater_or_equal(shifted, bound);
        kept = graph.and(kept, likely);
    }
    let zero_or_nan = softmax.zero_or_nan(graph);
    // The last candidate stays exactly if all of them do. An unsound row needs no second run.
    let stays = graph.cast(kept, Dtype::F32);
    let last = graph.min(stays);
    let sound = graph.op("Equal", &[zero_or_nan, zero_or_nan]);
    let more = graph.cast(last, Dtype::Bool);
    let more = graph.and(more, sound);
    graph.output(more, Dtype::Bool, 2, Placement::Host);

    let excluded = graph.add(zero_or_nan, excluded);
    let values = graph.add(values, zero_or_nan);
    let updates = graph.where_cond(kept, values, excluded);
    let shape = graph.integer_list(&[1, width as i64]);
    let all_excluded = graph.op("Expand", &[excluded, shape]);
    graph.op_with("ScatterElements", &[all_excluded, indices, updates], &[("axis", 1)])
}

/// `scores / temperature`. Where that would overflow, the row's maximum is subtracted first.
fn scale(graph: &mut GraphBuilder, scores: Var, temperature: Temperature) -> Var {
    if temperature == Temperature::One {
        return scores;
    }
    let divisor = graph.argument(Dtype::F32, 2);
    if temperature == Temperature::AboveOne {
        return graph.div(scores, divisor);
    }
    let max = graph.max(scores);
    let quotient = graph.div(max, divisor);
    let overflows = graph.op("IsInf", &[quotient]);
    let zero = graph.float(0.0);
    let shift = graph.where_cond(overflows, max, zero);
    let shifted = graph.sub(scores, shift);
    graph.div(shifted, divisor)
}
