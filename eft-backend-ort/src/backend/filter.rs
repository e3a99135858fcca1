//! Temperature, top-k, top-p and min-p.
//!
//! The first tokens of a row, sorted, tell which of them stay: a few hundred as a rule. Where that many do not
//! settle it, the graph says so, and is asked again with more.
use eft_core::{Error, Filter, Result, ScoreRow};
use ort::value::DynValue;

use super::mass::Mass;
use super::net::{Kind, Net, Place, Var};
use super::operation::Operation;
use super::{Ort, Tensor, integers, to_error, value};

/// How many of a row's first tokens are looked at, before all of them are.
const LOOKED_AT: [usize; 2] = [256, 4096];

/// What a filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    pub(super) temperature: Temperature,
    pub(super) top_k: bool,
    pub(super) top_p: bool,
    pub(super) min_p: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Temperature {
    One,
    /// Above one.
    Hot,
    /// Below one: scores can overflow.
    Cold,
}

impl Parts {
    /// What of a filter can change a row of that width.
    fn of(filter: &Filter, width: usize) -> Self {
        let temperature = match filter.temperature {
            1.0 => Temperature::One,
            hot if hot > 1.0 => Temperature::Hot,
            _ => Temperature::Cold,
        };
        Self {
            temperature,
            top_k: filter.top_k.is_some_and(|k| k < width),
            top_p: filter.top_p.is_some_and(|p| p < 1.0),
            min_p: filter.min_p.is_some_and(|p| p > 0.0),
        }
    }

    fn truncates(self) -> bool {
        self.top_k || self.top_p || self.min_p
    }
}

/// Filters at least one row, and looks at more tokens until all rows are settled.
pub(super) fn run(ort: &Ort, rows: &[ScoreRow<'_, Ort>], filter: &Filter, width: usize) -> Result<Tensor> {
    let parts = Parts::of(filter, width);
    if parts.temperature == Temperature::One && !parts.truncates() {
        return ort.collect(rows, width);
    }
    let rows = [ort.load(rows, width)?];
    let operation = Operation::Filter(parts);
    // With top-k, k tokens settle it.
    let counts = match filter.top_k.filter(|_| parts.top_k) {
        Some(k) => vec![k],
        None => LOOKED_AT.into_iter().filter(|count| *count < width).chain([width]).collect(),
    };
    for looked_at in counts {
        let further = further(filter, parts, looked_at)?;
        let mut values = ort.values(operation.clone(), &rows, width, &further)?;
        let filtered = values.pop();
        let more = match values.pop() {
            Some(more) if !parts.top_k && looked_at < width => {
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

/// What the graph takes besides rows.
fn further(filter: &Filter, parts: Parts, looked_at: usize) -> Result<Vec<DynValue>> {
    let mut further = Vec::new();
    if parts.temperature != Temperature::One {
        further.push(value([1, 1], vec![filter.temperature])?);
    }
    if parts.truncates() {
        further.push(integers([1], vec![looked_at as i64])?);
    }
    if let Some(k) = filter.top_k.filter(|_| parts.top_k) {
        further.push(integers([1, 1], vec![k as i64])?);
    }
    if let Some(p) = filter.top_p.filter(|_| parts.top_p) {
        further.push(value([1, 1], vec![f64::from(p)])?);
    }
    if let Some(p) = filter.min_p.filter(|_| parts.min_p) {
        further.push(value([1, 1], vec![p.ln()])?);
    }
    Ok(further)
}

/// Further inputs: the temperature, `(1, 1)`, unless one; and if anything is truncated, how many tokens to look at,
/// `(1)`, followed by k, `(1, 1)`, p as `f64` and the logarithm of min-p, `(1, 1)` each, where they take part.
///
/// First output, if anything is truncated: whether the last token looked at stays, `(n, 1)`, so that there may be
/// more. Then the rows.
pub(super) fn filter(net: &mut Net, scores: Var, width: usize, parts: Parts) -> Var {
    let scores = scale(net, scores, parts.temperature);
    if !parts.truncates() {
        return scores;
    }
    let mass = Mass::of(net, scores, width);
    let looked_at = net.argument(Kind::I64, 1);
    let (values, indices) = net.top(scores, looked_at);
    let shifted = net.sub(values, mass.max);
    let excluded = net.number(f32::NEG_INFINITY);
    let mut kept = net.greater(values, excluded);
    let mut sum = mass.sum;
    let mut weights = net.op("Exp", &[shifted]);
    if parts.top_k {
        let count = net.reshape(looked_at, &[]);
        let rank = net.range(count);
        let k = net.argument(Kind::I64, 2);
        let first = net.less(rank, k);
        kept = net.and(kept, first);
        let nothing = net.number(0.0);
        weights = net.choose(kept, weights, nothing);
        sum = net.sum(weights);
    }
    if parts.top_p {
        let p = net.argument(Kind::F64, 2);
        // A long running sum of `f32` loses digits.
        let (weights, sum) = (net.cast(weights, Kind::F64), net.cast(sum, Kind::F64));
        let before = net.running_sum(weights, true);
        let needed = net.mul(sum, p);
        let within = net.less(before, needed);
        kept = net.and(kept, within);
    }
    if parts.min_p {
        let least = net.argument(Kind::F32, 2);
        let likely = net.at_least(shifted, least);
        kept = net.and(kept, likely);
    }
    let poison = mass.poison(net);
    // What stays is a beginning of what was looked at. An unsound row has no more to tell.
    let stays = net.cast(kept, Kind::F32);
    let last = net.min(stays);
    let sound = net.op("Equal", &[poison, poison]);
    let more = net.cast(last, Kind::Bool);
    let more = net.and(more, sound);
    net.output(more, Kind::Bool, 2, Place::Host);

    let excluded = net.add(poison, excluded);
    let values = net.add(values, poison);
    let updates = net.choose(kept, values, excluded);
    let shape = net.integers(&[1, width as i64]);
    let nothing = net.op("Expand", &[excluded, shape]);
    net.op_with("ScatterElements", &[nothing, indices, updates], &[("axis", 1)])
}

/// `scores / temperature`, less the row's largest score first where that would overflow.
fn scale(net: &mut Net, scores: Var, temperature: Temperature) -> Var {
    if temperature == Temperature::One {
        return scores;
    }
    let number = net.argument(Kind::F32, 2);
    if temperature == Temperature::Hot {
        return net.div(scores, number);
    }
    let max = net.max(scores);
    let quotient = net.div(max, number);
    let overflows = net.op("IsInf", &[quotient]);
    let zero = net.number(0.0);
    let shift = net.choose(overflows, max, zero);
    let shifted = net.sub(scores, shift);
    net.div(shifted, number)
}
