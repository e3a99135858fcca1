//! What the log-probs that are told say about those that are not.
//!
//! Let `K` be the tokens that are told, `r = 1 − Σ_K π(t)` the probability of the others, `m` the least log-prob of the
//! likeliest tokens that are told, and `Δ(t)` the local term, which is known for every token. For a token that is not
//! told, `log π(t) ≤ min(m, log r)`, so its score is at most `min(m, log r) + Δ(t)`. If no such bound reaches the best
//! score of a token that is told, that token has the best score of all: the greedy choice is proven.
use eft_core::TokenId;

use crate::told::Told;

/// By how much log-probs may be off, in nats: engines compute several requests in batches of different shapes.
const ROUNDING: f32 = 1e-4;

/// By how much the probability of the told tokens may be off.
const MASS_ROUNDING: f64 = 1e-5;

/// What is known about one position of a sum.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// The tokens that are not told and could have the best score, the most promising first. If there are none, the
    /// best token that is told is the best of all.
    pub(crate) contenders: Vec<TokenId>,
    /// The share of the sum's distribution that tokens which are not told could have, at most.
    pub(crate) missed: f64,
}

impl Judged {
    pub(crate) fn is_proven(&self) -> bool {
        self.contenders.is_empty()
    }
}

/// Judges a position. `delta[t]` is the local term of token `t`: −∞ excludes the token, and no entry is NaN or +∞.
pub(crate) fn judge(told: &Told, delta: &[f32]) -> Judged {
    let scores = told.entries().iter().filter_map(|(id, log_prob)| Some(log_prob + delta.get(*id as usize)?));
    let best = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    let rest = (1.0 - told.mass() + MASS_ROUNDING).ln() as f32;
    let bound = told.ceiling().min(rest) + ROUNDING;
    let known: Vec<_> = told.entries().iter().map(|(id, _)| *id as usize).collect();
    let untold =
        || (0..delta.len()).filter(|id| known.binary_search(id).is_err() && delta[*id] > f32::NEG_INFINITY);
    // A whole row leaves nothing untold, whatever its padding.
    let untold = || untold().filter(|_| told.ceiling() > f32::NEG_INFINITY);

    let mut contenders: Vec<_> =
        untold().filter(|id| bound + delta[*id] >= best).map(|id| id as TokenId).collect();
    contenders.sort_by(|a, b| delta[*b as usize].total_cmp(&delta[*a as usize]).then(a.cmp(b)));

    // Scores are shifted by the largest of them, so that their exponentials neither overflow nor vanish.
    let steepest = untold().map(|id| delta[id]).fold(f32::NEG_INFINITY, f32::max);
    let shift = f64::from(best.max(bound + steepest));
    if shift == f64::NEG_INFINITY {
        return Judged { contenders, missed: 0.0 };
    }
    let known: f64 = scores.map(|score| (f64::from(score) - shift).exp()).sum();
    let one_by_one: f64 = untold().map(|id| (f64::from(bound + delta[id]) - shift).exp()).sum();
    let together = (f64::from(rest + ROUNDING) + f64::from(steepest) - shift).exp();
    let missed = one_by_one.min(together);
    Judged { contenders, missed: if missed > 0.0 { missed / (known + missed) } else { 0.0 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Wanted;
    use proptest::prelude::*;

    /// A row of log-probs, a local term, and which of the likeliest tokens and which others are told.
    fn rows() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize, Vec<TokenId>)> {
        (3usize..40).prop_flat_map(|width| {
            let logits = prop::collection::vec(-12f32..6.0, width);
            let excluded = prop::option::weighted(0.9, -6f32..6.0);
            let delta = prop::collection::vec(excluded.prop_map(|d| d.unwrap_or(f32::NEG_INFINITY)), width);
            let named = prop::collection::vec(0..width as TokenId, 0..4);
            (logits.prop_map(|logits| log_softmax(&logits)), delta, 1..=width, named)
        })
    }

    fn log_softmax(logits: &[f32]) -> Vec<f32> {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        logits.iter().map(|x| (f64::from(*x) - sum.ln()) as f32).collect()
    }

    /// What a server tells that is asked for the `k` likeliest tokens, and then for the named ones.
    fn told(row: &[f32], k: usize, named: &[TokenId]) -> Told {
        let mut likeliest: Vec<_> = (0..row.len() as TokenId).map(|id| (id, row[id as usize])).collect();
        likeliest.sort_by(|a, b| b.1.total_cmp(&a.1));
        likeliest.truncate(k);
        let mut told = Told::new(likeliest, Wanted::Top(k), row.len(), row.len()).unwrap();
        let mut ids = named.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let of_named = ids.iter().map(|id| (*id, row[*id as usize])).collect::<Vec<_>>();
        told.merge(&Told::new(of_named, Wanted::Named(&ids), row.len(), row.len()).unwrap());
        told
    }

    /// The best token of a row of scores: ties go to the lowest id.
    fn argmax(scores: impl IntoIterator<Item = (TokenId, f32)>) -> Option<(TokenId, f32)> {
        scores
            .into_iter()
            .filter(|(_, s)| *s > f32::NEG_INFINITY)
            .reduce(|a, b| if b.1 > a.1 { b } else { a })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_proven_choice_is_the_choice_of_the_whole_row((row, delta, k, named) in rows()) {
            let told = told(&row, k, &named);
            let judged = judge(&told, &delta);
            let sum = |id: TokenId| (id, row[id as usize] + delta[id as usize]);
            let whole = argmax((0..row.len() as TokenId).map(sum));
            let known = argmax(told.entries().iter().map(|(id, _)| sum(*id)));
            if judged.is_proven() {
                prop_assert_eq!(known, whole);
            } else if let Some((best, _)) = whole.filter(|_| known != whole) {
                // The token that beats those that are told is among the contenders.
                prop_assert!(judged.contenders.contains(&best));
            }
        }

        #[test]
        fn the_missed_share_is_never_larger_than_its_bound((row, delta, k, named) in rows()) {
            let told = told(&row, k, &named);
            let weight = |id: TokenId| f64::from(row[id as usize] + delta[id as usize]).exp();
            let all: f64 = (0..row.len() as TokenId).map(weight).sum();
            let known: f64 = told.entries().iter().map(|(id, _)| weight(*id)).sum();
            let missed = if all > 0.0 { 1.0 - known / all } else { 0.0 };
            prop_assert!(missed <= judge(&told, &delta).missed + 1e-9, "{} {:?}", missed, judge(&told, &delta));
        }
    }

    #[test]
    fn contenders_come_in_the_order_of_their_local_term() {
        let row = log_softmax(&[5.0, 1.0, 0.0, -1.0, -1.0]);
        let told = told(&row, 2, &[]);
        assert!(judge(&told, &[0.0; 5]).is_proven());
        assert_eq!(judge(&told, &[0.0, 0.0, 4.5, 0.0, 6.0]).contenders, [4, 2]);
        assert_eq!(judge(&told, &[0.0, 0.0, f32::NEG_INFINITY, 0.0, 6.0]).contenders, [4]);
    }

    #[test]
    fn a_whole_row_is_proven_and_misses_nothing() {
        let row = log_softmax(&[0.0, 0.0, 0.0]);
        let entries: Vec<_> = (0..).zip(row.iter().copied()).collect();
        let whole = Told::new(entries, Wanted::Whole, 3, 3).unwrap();
        assert_eq!(judge(&whole, &[0.0, 1.0, 9.0]), Judged { contenders: vec![], missed: 0.0 });
    }
}
