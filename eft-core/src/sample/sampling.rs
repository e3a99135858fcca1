use crate::backend::Filter;
use crate::{Error, Result};

/// The settings by which a token is drawn from a score row.
///
/// The default draws from the distribution as it is: temperature 1, no filter, seed 0. The same seed and row id give
/// the same text in every run, whatever other rows are in the batch, and on every backend up to rounding. The id of a
/// row is the index of its prompt in the batch, unless its [`Request`](crate::decode::Request) sets one.
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
#[non_exhaustive]
#[must_use]
pub struct Sampling {
    /// Scores are divided by the temperature before they are normalised. At 0 the likeliest token is taken (the one
    /// with the lowest id if there are several), and the filters do not matter.
    pub temperature: f32,
    /// Keep the `k` likeliest tokens; all of them if `None`.
    pub top_k: Option<usize>,
    /// Keep the nucleus: the smallest set of likeliest tokens whose probability mass reaches this; all tokens if
    /// `None`.
    pub top_p: Option<f32>,
    /// Keep the tokens that are at least this fraction as likely as the likeliest one; all tokens if `None`.
    pub min_p: Option<f32>,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None, seed: 0 }
    }
}

impl Sampling {
    /// Always takes the likeliest token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Sets the temperature; 0 is greedy.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Keeps the `k` likeliest tokens; all of them for `None`.
    pub fn top_k(mut self, k: impl Into<Option<usize>>) -> Self {
        self.top_k = k.into();
        self
    }

    /// Keeps the smallest set of likeliest tokens whose probability mass reaches `p`; all tokens for `None`.
    pub fn top_p(mut self, p: impl Into<Option<f32>>) -> Self {
        self.top_p = p.into();
        self
    }

    /// Keeps the tokens that are at least `p` times as likely as the likeliest one; all tokens for `None`.
    pub fn min_p(mut self, p: impl Into<Option<f32>>) -> Self {
        self.min_p = p.into();
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns whether the likeliest token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for the first setting that is not.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::parameter("temperature", self.temperature, "a finite number, 0 or above"));
        }
        let temperature = if self.is_greedy() { 1.0 } else { self.temperature };
        Filter { temperature, ..self.unchecked_filter() }.validate()
    }

    /// Returns the filter that is applied to a row before a token is drawn; `None` for greedy decoding.
    pub fn filter(&self) -> Option<Filter> {
        (!self.is_greedy()).then(|| self.unchecked_filter())
    }

    fn unchecked_filter(&self) -> Filter {
        Filter { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, min_p: self.min_p }
    }
}
