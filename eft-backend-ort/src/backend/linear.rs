//! Weighted sums of rows.
use super::net::{Kind, Net, Var};

/// What a graph knows of a term's weight. Those other than ±1 are inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    One,
    MinusOne,
    Positive,
    Negative,
}

impl Weight {
    pub(super) fn of(weight: f32) -> Self {
        match weight {
            1.0 => Self::One,
            -1.0 => Self::MinusOne,
            _ if weight < 0.0 => Self::Negative,
            _ => Self::Positive,
        }
    }

    /// Whether the number itself is an input.
    pub(super) fn is_input(self) -> bool {
        matches!(self, Self::Positive | Self::Negative)
    }
}

/// Further inputs: the numbers of the weights that need one, `(1, 1)` each.
pub(super) fn linear(net: &mut Net, rows: &[Var], weights: &[Weight]) -> Var {
    let mut sum = None;
    for (&rows, &weight) in rows.iter().zip(weights) {
        let rows = match weight {
            Weight::MinusOne | Weight::Negative => without_infinity(net, rows),
            Weight::One | Weight::Positive => rows,
        };
        let product = match weight {
            Weight::One | Weight::MinusOne => rows,
            Weight::Positive | Weight::Negative => {
                let number = net.argument(Kind::F32, 2);
                net.mul(rows, number)
            }
        };
        sum = Some(match (sum, weight) {
            (None, Weight::MinusOne) => net.op("Neg", &[product]),
            (None, _) => product,
            (Some(sum), Weight::MinusOne) => net.sub(sum, product),
            (Some(sum), _) => net.add(sum, product),
        });
    }
    // There is at least one term: arguments are checked before.
    sum.unwrap_or_else(|| net.number(f32::NAN))
}

/// NaN for +∞, which would come out as −∞ and pass for a token that is excluded. Zero times what is above zero is
/// zero, but for +∞: adding that is cheaper than choosing.
fn without_infinity(net: &mut Net, rows: Var) -> Var {
    let positive = net.op("Relu", &[rows]);
    let zero = net.number(0.0);
    let nothing = net.mul(positive, zero);
    net.add(rows, nothing)
}
