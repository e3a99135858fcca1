use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::checks::{finite, per_item};
use super::error::StatsError;

/// The exact two-sided sign test of two sources on the same items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SignTest {
    /// The number of items on which the first source is better.
    pub wins: usize,
    /// The number of items on which the second source is better.
    pub losses: usize,
    /// The number of items with equal scores, which the test ignores.
    pub ties: usize,
    /// The probability of a split at least as uneven, if each source is equally likely to be better on an item.
    pub p_value: f64,
}

/// Compares two sources on the same items by the exact two-sided sign test, as `scipy.stats.binomtest` computes it. The
/// items are taken to be independent: for clustered items, use [`Bootstrap::difference`](super::Bootstrap::difference).
///
/// ```
/// use eft_eval::stats::sign_test;
///
/// let test = sign_test(&[1.0, 1.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 0.0, 0.0, 0.0])?;
/// assert_eq!((test.wins, test.losses, test.ties), (4, 0, 1));
/// assert!((test.p_value - 0.125).abs() < 1e-12);
/// # Ok::<(), eft_eval::stats::StatsError>(())
/// ```
///
/// # Errors
/// * [`StatsError::Lengths`] unless both lists have the same length.
/// * [`StatsError::NotFinite`] if a score is NaN or infinite.
pub fn sign_test(a: &[f64], b: &[f64]) -> Result<SignTest, StatsError> {
    per_item("scores of the second source", a.len(), b.len())?;
    finite("score of the first source,", a)?;
    finite("score of the second source,", b)?;
    let wins = a.iter().zip(b).filter(|(a, b)| a > b).count();
    let losses = a.iter().zip(b).filter(|(a, b)| a < b).count();
    let ties = a.len() - wins - losses;
    Ok(SignTest { wins, losses, ties, p_value: p_value(wins, losses) })
}

/// Both tails of the binomial distribution with probability ½, which is symmetric.
fn p_value(wins: usize, losses: usize) -> f64 {
    // Binomial::new accepts every number of trials.
    Binomial::new(0.5, (wins + losses) as u64).map_or(f64::NAN, |binomial| {
        let tail = binomial.cdf(wins.min(losses) as u64);
        (2.0 * tail).min(1.0)
    })
}
