use crate::backend::Filter;
use crate::{Error, Result};

/// How a token is drawn from a row of scores.
///
/// The default draws from the distribution as it is: temperature 1, nothing truncated, seed 0. One seed gives one
/// text: the same on every run, whatever else is in the batch, and on every backend up to rounding.
///
/// ```
/// use eft_core::Sampling;
///
/// let sampling = Sampling::default().temperature(0.7).top_p(0.9).seed(7);
/// assert!(sampling.validate().is_ok());
/// assert!(Sampling::default().temperature(f32::NAN).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Sampling {
    /// Scores are divided by it; 0 takes the likeliest token (the lowest id of several), and then no filter
    /// matters.
    pub temperature: f32,
    /// Keep the `k` likeliest tokens.
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest tokens whose mass reaches this.
    pub top_p: Option<f32>,
    /// Keep tokens at least this fraction as likely as the likeliest.
    pub min_p: Option<f32>,
    /// What the uniform numbers are made of.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None, seed: 0 }
    }
}

impl Sampling {
    /// The likeliest token, always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Sets the temperature; 0 is greedy.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Keeps the `k` likeliest tokens.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k);
        self
    }

    /// Keeps the smallest set of likeliest tokens whose mass reaches `p`.
    pub fn top_p(mut self, p: f32) -> Self {
        self.top_p = Some(p);
        self
    }

    /// Keeps tokens at least `p` times as likely as the likeliest.
    pub fn min_p(mut self, p: f32) -> Self {
        self.min_p = Some(p);
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the likeliest token is taken, always.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Every setting in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the first that is not.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::parameter("temperature", self.temperature, "a finite number, 0 or above"));
        }
        let temperature = if self.is_greedy() { 1.0 } else { self.temperature };
        Filter { temperature, ..self.unchecked_filter() }.validate()
    }

    /// What is done to a row before a token is drawn; `None` for greedy.
    pub fn filter(&self) -> Option<Filter> {
        (!self.is_greedy()).then(|| self.unchecked_filter())
    }

    fn unchecked_filter(&self) -> Filter {
        Filter { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, min_p: self.min_p }
    }
}
