//! Tokens chosen, and log-probabilities asked for: what crosses to the host.
use super::mass::Mass;
use super::net::{Kind, Net, Place, Var};

/// Further input: k, `(1)`. Outputs: tokens and log-probabilities in the total order, `(n, k)` each.
pub(super) fn top(net: &mut Net, scores: Var, width: usize) {
    let k = net.argument(Kind::I64, 1);
    let mass = Mass::of(net, scores, width);
    let (values, tokens) = net.top(scores, k);
    let shifted = net.sub(values, mass.max);
    let log_probs = net.sub(shifted, mass.log_sum);
    picked(net, tokens, log_probs);
}

/// Further input: uniforms, `(n, 1)` of `f64`. Outputs: a token and its log-probability for each row, `(n, 1)`.
///
/// The running sums are of whole blocks first, then of the columns of the block that was found.
pub(super) fn draw(net: &mut Net, scores: Var, width: usize) {
    let uniforms = net.argument(Kind::F64, 2);
    let mass = Mass::of(net, scores, width);
    let (count, columns) = mass.cut;
    let sums = net.cast(mass.sums, Kind::F64);
    let upto = net.running_sum(sums, false);
    let total = net.columns(upto, count - 1, count);
    let target = net.mul(total, uniforms);
    let block = first(net, sums, upto, target, count);
    let (upto, sum) = (net.entries(upto, block), net.entries(sums, block));
    let before = net.sub(upto, sum);
    let target = net.sub(target, before);
    let inside = net.op_with("GatherND", &[mass.blocks, block], &[("batch_dims", 1)]);
    let inside = net.cast(inside, Kind::F64);
    let upto = net.running_sum(inside, false);
    let column = first(net, inside, upto, target, columns);
    let size = net.integer(columns);
    let start = net.mul(block, size);
    let token = net.add(start, column);
    let shifted = net.entries(mass.shifted, token);
    let log_prob = net.sub(shifted, mass.log_sum);
    picked(net, token, log_prob);
}

/// For each row and its target, `(n, 1)`, the first of `count` columns at which the running sum `upto` of the
/// weights exceeds the target; the last column of a weight above zero if rounding keeps the sum from it; 0 if there
/// is none. Always a column that exists, `(n, 1)`.
fn first(net: &mut Net, weights: Var, upto: Var, target: Var, count: usize) -> Var {
    let end = net.integer(count);
    let ids = net.range(end);
    // Rounding can make the sums exceed a target at a weight of zero, which must never be found.
    let zero = net.number(0.0);
    let zero = net.cast(zero, Kind::F64);
    let counts = net.greater(weights, zero);
    let nothing = net.integer(0);
    let last = net.choose(counts, ids, nothing);
    let last = net.max(last);
    let exceeds = net.greater(upto, target);
    let exceeds = net.and(exceeds, counts);
    let found = net.choose(exceeds, ids, end);
    let found = net.min(found);
    let is_found = net.less(found, end);
    net.choose(is_found, found, last)
}

/// Further inputs: places in the flattened rows, and the rows they lie in, `(m)` each. Output: `(m)`.
pub(super) fn log_probs(net: &mut Net, scores: Var, width: usize) {
    let (places, rows) = (net.argument(Kind::I64, 1), net.argument(Kind::I64, 1));
    let mass = Mass::of(net, scores, width);
    let (shifted, log_sums) = (net.reshape(mass.shifted, &[-1]), net.reshape(mass.log_sum, &[-1]));
    let (shifted, log_sums) = (net.rows(shifted, places), net.rows(log_sums, rows));
    let log_probs = net.sub(shifted, log_sums);
    net.output(log_probs, Kind::F32, 1, Place::Host);
}

fn picked(net: &mut Net, tokens: Var, log_probs: Var) {
    net.output(tokens, Kind::I64, 2, Place::Host);
    net.output(log_probs, Kind::F32, 2, Place::Host);
}
