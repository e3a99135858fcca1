//! Reference implementations of the operations of [`Backend`](crate::Backend), in plain `f64` and on single rows. Every
//! backend is compared with them.
//!
//! A row is a slice with one score for each token id, and logarithms are natural. Where the contract asks for an
//! unsound result, every entry is NaN here. A backend rounds, so a probability mass that is within rounding of a
//! boundary may end up on either side of it: [`check_filter`] and [`check_draw`] allow for that, and for nothing else.
//!
//! ```
//! use eft_core::Filter;
//! use eft_core::conformance::reference;
//!
//! let row = [0.0, 2.0, 1.0];
//! assert_eq!(reference::order(&row), [1, 2, 0]);
//! let filtered = reference::filter(&row, &Filter { top_k: Some(2), ..Filter::default() });
//! assert_eq!(filtered, [f64::NEG_INFINITY, 2.0, 1.0]);
//! assert_eq!(reference::draw(&row, 0.5), 1);
//! ```
use crate::TokenId;
use crate::backend::{Edit, Filter, Pool};

/// Returns whether a row is sound: no NaN, no +∞, and at least one finite score.
pub fn is_sound(row: &[f32]) -> bool {
    row.iter().all(|x| *x < f32::INFINITY) && row.iter().any(|x| x.is_finite())
}

/// Returns `log Σ exp row`: −∞ if every token is excluded, NaN if the row has NaN or +∞.
pub fn log_normalizer(row: &[f32]) -> f64 {
    log_sum_exp(&widen(row))
}

/// Returns `row − log Σ exp row`.
pub fn log_softmax(row: &[f32]) -> Vec<f64> {
    // The largest score is subtracted first: added to it, the logarithm of the sum could be lost to rounding.
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<_> = row.iter().map(|x| f64::from(*x) - f64::from(max)).collect();
    let normalizer = if is_sound(row) { log_sum_exp(&shifted) } else { f64::NAN };
    shifted.iter().map(|x| x - normalizer).collect()
}

/// Returns `Σ wₖ·rowₖ`, with NaN where +∞ is subtracted.
pub fn linear(terms: &[(f32, &[f32])]) -> Vec<f64> {
    let times =
        |(weight, x): &(f64, f64)| if *weight < 0.0 && *x == f64::INFINITY { f64::NAN } else { weight * x };
    columns(terms, |column| column.iter().map(times).sum())
}

/// Pools rows of log-probabilities elementwise; see [`Pool`].
pub fn pool(terms: &[(f32, &[f32])], pool: Pool) -> Vec<f64> {
    if !terms.iter().all(|(_, row)| is_sound(row)) {
        return vec![f64::NAN; terms.first().map_or(0, |(_, row)| row.len())];
    }
    columns(terms, |column| {
        let scores = column.iter().map(|(_, x)| *x);
        match pool {
            Pool::Max => scores.fold(f64::NEG_INFINITY, f64::max),
            Pool::Min => scores.fold(f64::INFINITY, f64::min),
            Pool::Power(p) if p < 0.0 && scores.clone().any(|x| x == f64::NEG_INFINITY) => f64::NEG_INFINITY,
            Pool::Power(p) => {
                let p = f64::from(p);
                log_sum_exp(&column.iter().map(|(weight, x)| p * x + weight.ln()).collect::<Vec<_>>()) / p
            }
        }
    })
}

/// Clamps finite scores to `[low, high]`; −∞, +∞ and NaN stay as they are.
pub fn clamp(row: &[f32], low: f32, high: f32) -> Vec<f64> {
    let (low, high) = (f64::from(low), f64::from(high));
    widen(row).into_iter().map(|x| if x.is_finite() { x.max(low).min(high) } else { x }).collect()
}

/// Returns the token ids by score, highest first; of equal scores, the lowest id first.
pub fn order(row: &[f32]) -> Vec<TokenId> {
    let mut order: Vec<_> = (0..row.len()).collect();
    // The sort is stable, so equal scores stay in the order of their ids.
    order.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).unwrap_or(std::cmp::Ordering::Equal));
    order.into_iter().map(|token| token as TokenId).collect()
}

/// Returns the scores divided by the temperature, with −∞ for the tokens that the filter drops.
pub fn filter(row: &[f32], filter: &Filter) -> Vec<f64> {
    let mut kept = vec![false; row.len()];
    let order = order(row);
    order.iter().take(survivors(row, &order, filter)).for_each(|token| kept[*token as usize] = true);
    let excluded = if is_sound(row) { f64::NEG_INFINITY } else { f64::NAN };
    let scaled = row.iter().map(|x| f64::from(*x) / f64::from(filter.temperature));
    scaled.zip(kept).map(|(x, kept)| if kept { x } else { excluded }).collect()
}

/// Returns how many tokens a filter keeps, the first ones of the order; 0 for an unsound row.
fn survivors(row: &[f32], order: &[TokenId], filter: &Filter) -> usize {
    if !is_sound(row) {
        return 0;
    }
    let temperature = f64::from(filter.temperature);
    let scores: Vec<_> = order.iter().map(|token| f64::from(row[*token as usize])).collect();
    let weights: Vec<_> = scores.iter().map(|x| ((x - scores[0]) / temperature).exp()).collect();
    let mut count = scores.iter().filter(|x| x.is_finite()).count().min(filter.top_k.unwrap_or(usize::MAX));
    if let Some(p) = filter.top_p.filter(|p| *p < 1.0) {
        let needed = f64::from(p) * weights[..count].iter().sum::<f64>();
        let mut mass = 0.0;
        let crossing = weights[..count].iter().position(|weight| {
            mass += weight;
            mass >= needed
        });
        count = crossing.map_or(count, |last| last + 1);
    }
    let least = f64::from(filter.min_p.unwrap_or(0.0));
    weights[..count].iter().filter(|weight| **weight >= least).count()
}

/// Checks that `got` is `row` filtered, where masses and ratios are compared up to a relative `tolerance`.
///
/// # Errors
/// Returns a description of the first difference.
pub fn check_filter(row: &[f32], filter: &Filter, got: &[f32], tolerance: f32) -> Result<(), String> {
    check_ordered_filter(row, &order(row), filter, got, tolerance)
}

/// As [`check_filter`], for a row whose [`order`] is known: to sort a wide row takes longer than all else.
pub(super) fn check_ordered_filter(
    row: &[f32],
    order: &[TokenId],
    filter: &Filter,
    got: &[f32],
    tolerance: f32,
) -> Result<(), String> {
    if !is_sound(row) {
        return if is_sound(got) { Err("an unsound row became sound".into()) } else { Ok(()) };
    }
    if got.len() != row.len() || !is_sound(got) {
        return Err("a sound row became unsound".into());
    }
    let moved = |by: f32| Filter {
        top_p: filter.top_p.map(|p| p * (1.0 + by)),
        min_p: filter.min_p.map(|p| p * (1.0 - by)),
        ..*filter
    };
    // A score divided by the temperature may overflow to −∞, if the token has no probability anyway.
    let kept_by = |filter: &Filter| survivors(row, order, filter);
    let possible = kept_by(&Filter { min_p: Some(f32::from_bits(1)), ..moved(-tolerance) });
    let (fewest, most) = (possible.min(kept_by(&moved(-tolerance))), kept_by(&moved(tolerance)));
    let mut kept = order.to_vec();
    let mut dropped = kept.clone();
    kept.retain(|token| got[*token as usize] > f32::NEG_INFINITY);
    dropped.retain(|token| got[*token as usize] == f32::NEG_INFINITY);
    if !(fewest..=most).contains(&kept.len()) {
        return Err(format!("{} tokens kept, not {fewest} to {most}", kept.len()));
    }
    let scaled = |token: TokenId| f64::from(row[token as usize]) / f64::from(filter.temperature);
    let slack = |x: f64| 4.0 * f64::from(f32::EPSILON) * x.abs();
    if let (Some(last), Some(first)) = (kept.last().copied(), dropped.first().copied()) {
        let tied = row[last as usize] == row[first as usize];
        if (tied && first < last) || scaled(first) - scaled(last) > slack(scaled(first)) {
            return Err(format!("token {last} kept instead of {first}"));
        }
    }
    // If the quotient would overflow, all scores may have been shifted.
    let top = kept[0];
    let shift = if scaled(top).abs() > f64::from(f32::MAX) { scaled(top) } else { 0.0 };
    let off = |token: &&TokenId| {
        let expected = scaled(**token) - shift;
        (f64::from(got[**token as usize]) - expected).abs() > slack(expected)
    };
    kept.iter()
        .find(off)
        .map_or(Ok(()), |token| Err(format!("token {token} has score {}", got[*token as usize])))
}

/// Returns `inside` where `kept` is above −∞, and elsewhere `outside`, or −∞ without it; NaN where `kept` is NaN.
pub fn choose(kept: &[f32], inside: &[f32], outside: Option<&[f32]>) -> Vec<f64> {
    let choose = |i: usize| match kept[i] {
        x if x.is_nan() => f32::NAN,
        x if x > f32::NEG_INFINITY => inside[i],
        _ => outside.map_or(f32::NEG_INFINITY, |outside| outside[i]),
    };
    (0..kept.len()).map(|i| f64::from(choose(i))).collect()
}

/// Applies edits to a row, in their order.
pub fn edit(row: &[f32], edits: &[Edit]) -> Vec<f64> {
    let mut row = widen(row);
    for edit in edits {
        match edit {
            Edit::Bias(biases) => {
                biases.iter().for_each(|(token, bias)| row[*token as usize] += f64::from(*bias));
            }
            Edit::Repetition { tokens, penalty } => {
                let penalty = f64::from(*penalty);
                for token in tokens {
                    let x = &mut row[*token as usize];
                    *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
                }
            }
            Edit::Allow(mask) => {
                let outside =
                    row.iter_mut().enumerate().filter(|(token, _)| !mask.contains(*token as TokenId));
                outside.for_each(|(_, x)| *x += f64::NEG_INFINITY);
            }
        }
    }
    row
}

/// Returns `log max(softmax(target) − softmax(draft), 0)`, or `log_softmax(target)` if that excludes every token.
pub fn residual(target: &[f32], draft: &[f32]) -> Vec<f64> {
    let (target, draft) = (log_softmax(target), log_softmax(draft));
    let left = |(p, q): (&f64, &f64)| if p <= q { f64::NEG_INFINITY } else { (p.exp() - q.exp()).ln() };
    let rest: Vec<_> = target.iter().zip(&draft).map(left).collect();
    if rest.iter().all(|x| *x == f64::NEG_INFINITY) { target } else { rest }
}

/// Returns the first token of the order, with its log-probability.
pub fn argmax(row: &[f32]) -> (TokenId, f64) {
    let mut first = 0;
    for (token, score) in row.iter().enumerate() {
        if *score > row[first] {
            first = token;
        }
    }
    (first as TokenId, log_softmax(row)[first])
}

/// Returns the first token of a sound row, by id, whose cumulative probability exceeds `uniform`.
pub fn draw(row: &[f32], uniform: f64) -> TokenId {
    let mut mass = 0.0;
    let mut last = 0;
    for (token, log_prob) in log_softmax(row).iter().enumerate() {
        mass += log_prob.exp();
        if *log_prob > f64::NEG_INFINITY {
            last = token;
        }
        if mass > uniform {
            break;
        }
    }
    last as TokenId
}

/// Checks that `token` is the one drawn from a sound row by a uniform number within `tolerance` of `uniform`.
///
/// # Errors
/// Returns a description of the fault.
pub fn check_draw(row: &[f32], uniform: f64, token: TokenId, tolerance: f64) -> Result<(), String> {
    let log_probs = log_softmax(row);
    let own = log_probs[token as usize].exp();
    let before: f64 = log_probs[..token as usize].iter().map(|x| x.exp()).sum();
    if own == 0.0 {
        return Err(format!("token {token} has no probability"));
    }
    if before > uniform + tolerance || before + own < uniform - tolerance {
        return Err(format!("token {token} spans {before} to {}, the uniform is {uniform}", before + own));
    }
    Ok(())
}

/// Returns the first `k` tokens whose probability is above zero, with their log-probabilities.
pub fn top(row: &[f32], k: usize) -> Vec<(TokenId, f64)> {
    ordered_top(&order(row), &log_softmax(row), k)
}

/// As [`top`], for a row whose [`order`] and log-probabilities are known.
pub(super) fn ordered_top(order: &[TokenId], log_probs: &[f64], k: usize) -> Vec<(TokenId, f64)> {
    let all = order.iter().map(|token| (*token, log_probs[*token as usize]));
    // Backends compute in `f32`: a log-probability below its range is a probability of zero.
    all.filter(|(_, log_prob)| *log_prob as f32 > f32::NEG_INFINITY).take(k).collect()
}

fn widen(row: &[f32]) -> Vec<f64> {
    row.iter().map(|x| f64::from(*x)).collect()
}

fn log_sum_exp(scores: &[f64]) -> f64 {
    if scores.iter().any(|x| x.is_nan() || *x == f64::INFINITY) {
        return f64::NAN;
    }
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        max
    } else {
        max + scores.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
    }
}

/// Applies a function to the weights and scores of each column.
fn columns(terms: &[(f32, &[f32])], f: impl Fn(&[(f64, f64)]) -> f64) -> Vec<f64> {
    let width = terms.first().map_or(0, |(_, row)| row.len());
    let mut column = Vec::with_capacity(terms.len());
    let columns = (0..width).map(|i| {
        column.clear();
        column.extend(terms.iter().map(|(weight, row)| (f64::from(*weight), f64::from(row[i]))));
        f(&column)
    });
    columns.collect()
}
