use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result};

/// Top-nσ: keeps the tokens whose logit is at most `n` standard deviations of all logits below the largest one.
///
/// The set does not depend on the temperature, which scales logits and standard deviation alike. Top-k, top-p and min-p
/// come first and narrow the logits that are counted, so leave them off. Tang et al. 2024, arXiv 2411.07641.
///
/// ```
/// use eft_core::sample::{Cut, TopNSigma, Truncation};
/// use eft_core::Pick;
///
/// // The standard deviation of the logits 2, 0 and −2 is 1.63.
/// let picks = [2.0, 0.0, -2.0].into_iter().zip(0..).map(|(log_prob, token)| Pick { token, log_prob });
/// let Cut::Below(fraction) = TopNSigma::new(1.0)?.cut(&picks.collect::<Vec<_>>(), 0.0) else { panic!() };
/// assert!((fraction - (-1.63f32).exp()).abs() < 0.001);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopNSigma {
    n: f32,
}

impl TopNSigma {
    /// Creates the truncation; the paper uses `n` = 1.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `n` is finite and above 0.
    pub fn new(n: f32) -> Result<Self> {
        match n.is_finite() && n > 0.0 {
            true => Ok(Self { n }),
            false => Err(Error::parameter("n of top-nσ", n, "a finite number above 0")),
        }
    }
}

impl Truncation for TopNSigma {
    fn candidates(&self) -> usize {
        usize::MAX
    }

    fn cut(&self, likeliest: &[Pick], _: f64) -> Cut {
        // Log-probs are logits less a constant.
        let logits = || likeliest.iter().map(|pick| f64::from(pick.log_prob));
        let count = likeliest.len().max(1) as f64;
        let mean = logits().sum::<f64>() / count;
        let deviation = (logits().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        Cut::Below((-f64::from(self.n) * deviation).exp() as f32)
    }
}
