//! Weighted sums of score rows.
use eft_core::Result;

use super::graph_builder::{Dtype, GraphBuilder, Var};
use super::operation::{Operation, Weight};
use super::rows::Rows;
use super::runtime::Runtime;
use super::tensor::{Tensor, value};

/// `Σₖ wₖ·rowsₖ`.
pub(super) fn linear(runtime: &Runtime, terms: Vec<(f32, Rows)>) -> Result<Tensor> {
    let (numbers, rows): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
    let weights: Vec<_> = numbers.iter().map(|number| Weight::of(*number)).collect();
    let inputs = numbers.iter().zip(&weights).filter(|(_, weight)| weight.is_input());
    let arguments = inputs.map(|(number, _)| value([1, 1], vec![*number])).collect::<Result<Vec<_>>>()?;
    let operation = Operation::Linear(weights.clone());
    runtime.tensor(operation, &rows, &arguments, |graph, rows| write(graph, rows, &weights))
}

/// Arguments: the weights other than ±1, `(1, 1)` each.
fn write(graph: &mut GraphBuilder, rows: &[Var], weights: &[Weight]) -> Var {
    let mut sum = None;
    for (&rows, &weight) in rows.iter().zip(weights) {
        let rows = match weight {
            Weight::MinusOne | Weight::Negative => infinity_to_nan(graph, rows),
            Weight::One | Weight::Positive => rows,
        };
        let product = match weight {
            Weight::One | Weight::MinusOne => rows,
            Weight::Positive | Weight::Negative => {
                let number = graph.argument(Dtype::F32, 2);
                graph.mul(rows, number)
            }
        };
        sum = Some(match (sum, weight) {
            (None, Weight::MinusOne) => graph.op("Neg", &[product]),
            (None, _) => product,
            (Some(sum), Weight::MinusOne) => graph.sub(sum, product),
            (Some(sum), _) => graph.add(sum, product),
        });
    }
    // The caller has checked that there is at least one term.
    sum.unwrap_or_else(|| graph.float(f32::NAN))
}

/// Turns +∞ into NaN. A negative weight would turn it into −∞, the score of an excluded token.
///
/// It adds `0·max(x, 0)`, which is zero for all but +∞ and NaN. That is cheaper than a comparison and a `Where`.
fn infinity_to_nan(graph: &mut GraphBuilder, rows: Var) -> Var {
    let positive = graph.op("Relu", &[rows]);
    let zero = graph.float(0.0);
    let zero_or_nan = graph.mul(positive, zero);
    graph.add(rows, zero_or_nan)
}
