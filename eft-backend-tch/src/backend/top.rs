//! The first tokens of each score row in the total order.
use eft_core::{Pick, TokenId};
use tch::Tensor;

use super::cutoff::Cutoff;
use super::softmax::Softmax;
use super::tensor::{Result, numbers, topk};

/// The first `k` tokens of each row that have a probability above zero; one NaN for an unsound row.
pub(super) fn top(scores: &Tensor, k: usize) -> Result<Vec<Vec<Pick>>> {
    let (n, width) = scores.size2()?;
    let k = k.min(width as usize);
    let Softmax { max, log_sum, .. } = Softmax::of(scores)?;
    let (maxima, log_sums) = (numbers::<f32>(&max)?, numbers::<f32>(&log_sum)?);
    let (mut tokens, mut values) = (Vec::new(), Vec::new());
    if k > 0 {
        // The cut-off keeps the tied tokens with the lowest ids; `topk` alone does not say which it returns.
        let (kept, ids) = topk(&Cutoff::top_k(scores, k)?.apply(scores)?, k)?;
        (tokens, values) = (numbers::<i64>(&ids)?, numbers::<f32>(&kept)?);
    }
    let row = |row: usize| {
        if log_sums[row].is_nan() {
            return vec![Pick { token: 0, log_prob: f32::NAN }];
        }
        let found = row * k..(row + 1) * k;
        let mut found: Vec<_> = tokens[found.clone()].iter().zip(&values[found]).collect();
        // Adding 0 makes −0 equal to +0, as it is in the total order of tokens.
        found.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(b.0)));
        let log_prob =
            |score: f32| (f64::from(score) - f64::from(maxima[row]) - f64::from(log_sums[row])) as f32;
        let picks =
            found.into_iter().map(|(t, score)| Pick { token: *t as TokenId, log_prob: log_prob(*score) });
        picks.filter(|pick| pick.log_prob > f32::NEG_INFINITY).collect()
    };
    Ok((0..n as usize).map(row).collect())
}
