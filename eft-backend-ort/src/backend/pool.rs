//! Elementwise pools of log-probabilities: power means, maximum, minimum.
use super::mass::Mass;
use super::net::{Kind, Net, Var};

/// `Max` or `Min` of all rows.
pub(super) fn extreme(net: &mut Net, name: &'static str, rows: &[Var], width: usize) -> Var {
    let pooled = net.op(name, rows);
    poisoned(net, pooled, rows, width)
}

/// Further inputs: the exponent, and the weights, `(1, 1)` each.
pub(super) fn power(net: &mut Net, rows: &[Var], width: usize) -> Var {
    let exponent = net.argument(Kind::F32, 2);
    let scaled: Vec<_> = rows.iter().map(|rows| net.mul(*rows, exponent)).collect();
    let max = net.op("Max", &scaled);
    let weighted: Vec<_> = scaled
        .iter()
        .map(|scaled| {
            let shifted = net.sub(*scaled, max);
            let weight = net.argument(Kind::F32, 2);
            let exp = net.op("Exp", &[shifted]);
            net.mul(exp, weight)
        })
        .collect();
    let sum = net.op("Sum", &weighted);
    // At ±∞ the sum is NaN, and the largest is the answer.
    let infinite = net.op("IsInf", &[max]);
    let (zero, log) = (net.number(0.0), net.op("Log", &[sum]));
    let log = net.choose(infinite, zero, log);
    let pooled = net.add(max, log);
    let pooled = net.div(pooled, exponent);
    poisoned(net, pooled, rows, width)
}

/// A pool can hide what makes a part unsound: the maximum hides an excluded row, the minimum hides +∞.
fn poisoned(net: &mut Net, pooled: Var, rows: &[Var], width: usize) -> Var {
    rows.iter().fold(pooled, |pooled, rows| {
        let poison = Mass::of(net, *rows, width).poison(net);
        net.add(pooled, poison)
    })
}
