use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result};

/// Dynamic temperature: a low temperature where the model is sure, a high one where it is not.
///
/// The temperature is `low + (high − low) · (H / log n)^exponent`, where `H` is the entropy of the distribution and `log n`
/// its largest value, that of `n` tokens which are equally likely. Top-k, top-p and min-p come first, and only the tokens
/// that they leave count. The temperature of [`Sampling`](super::Sampling) is applied before, so leave it at 1. As
/// introduced in llama.cpp (pull request 4972 by kalomaze, 2024).
///
/// ```
/// use eft_core::sample::{Cut, DynamicTemperature, Truncation};
/// use eft_core::Pick;
///
/// let dynamic = DynamicTemperature::new(0.5, 1.5)?;
/// let picks = |probs: [f32; 2]| [0, 1].map(|i| Pick { token: i as u32, log_prob: probs[i].ln() });
/// assert_eq!(dynamic.cut(&picks([0.5, 0.5]), 0.0), Cut::Temperature(1.5));
/// // The entropy is 0.47 of log 2.
/// let Cut::Temperature(lower) = dynamic.cut(&picks([0.9, 0.1]), 0.0) else { panic!() };
/// assert!((lower - 0.969).abs() < 0.001);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicTemperature {
    low: f32,
    high: f32,
    exponent: f32,
}

/// The lowest temperature: scores that are divided by a lower one may leave the range of numbers.
const LOWEST: f32 = 0.001;

impl DynamicTemperature {
    /// Creates it with the lowest and the highest temperature, and an exponent of 1.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless both are finite, at least 0.001, and in this order.
    pub fn new(low: f32, high: f32) -> Result<Self> {
        if !(low.is_finite() && low >= LOWEST) {
            return Err(Error::parameter("lowest temperature", low, "a finite number, 0.001 or above"));
        }
        if !(high.is_finite() && high >= low) {
            return Err(Error::parameter(
                "highest temperature",
                high,
                "a finite number, not below the lowest",
            ));
        }
        Ok(Self { low, high, exponent: 1.0 })
    }

    /// Sets the exponent: above 1, temperatures stay low until the model is rather unsure.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless it is finite and above 0.
    pub fn exponent(mut self, exponent: f32) -> Result<Self> {
        if !(exponent.is_finite() && exponent > 0.0) {
            return Err(Error::parameter(
                "exponent of the dynamic temperature",
                exponent,
                "a finite number above 0",
            ));
        }
        self.exponent = exponent;
        Ok(self)
    }
}

impl Truncation for DynamicTemperature {
    fn candidates(&self) -> usize {
        usize::MAX
    }

    fn cut(&self, likeliest: &[Pick], _: f64) -> Cut {
        if likeliest.len() < 2 {
            return Cut::Nothing;
        }
        let log_probs = likeliest.iter().map(|pick| f64::from(pick.log_prob));
        let entropy: f64 = log_probs.map(|log_prob| -log_prob * log_prob.exp()).sum();
        let share = (entropy / (likeliest.len() as f64).ln()).clamp(0.0, 1.0).powf(f64::from(self.exponent));
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        Cut::Temperature((low + (high - low) * share) as f32)
    }
}
