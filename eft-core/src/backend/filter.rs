use crate::{Error, Result};

/// A temperature and truncations of score rows, applied in the order of the fields.
///
/// ```
/// use eft_core::Filter;
///
/// let nucleus = Filter { top_p: Some(0.9), ..Filter::default() };
/// assert!(nucleus.truncates() && nucleus.validate().is_ok());
/// assert!(Filter { temperature: 0.0, ..nucleus }.validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// All scores are divided by this number, which is finite and above zero.
    pub temperature: f32,
    /// Keeps the `k` tokens with the highest scores; at least 1.
    pub top_k: Option<usize>,
    /// Nucleus sampling: keeps the smallest set of likeliest tokens whose total probability is at least `p`, in (0, 1].
    /// Probabilities are those after the temperature and top-k. Holtzman et al. 2019, arXiv 1904.09751.
    pub top_p: Option<f32>,
    /// Keeps tokens whose probability is at least this fraction of the largest, in [0, 1]. Nguyen et al. 2024,
    /// arXiv 2407.01082.
    pub min_p: Option<f32>,
}

impl Default for Filter {
    /// A filter that changes nothing.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None }
    }
}

impl Filter {
    /// Returns whether the filter leaves every row as it is.
    pub fn is_identity(&self) -> bool {
        self.temperature == 1.0 && !self.truncates()
    }

    /// Returns whether the filter can exclude a token.
    pub fn truncates(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some_and(|p| p < 1.0) || self.min_p.is_some_and(|p| p > 0.0)
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for the first setting that is not.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Error::parameter("temperature", self.temperature, "a finite number above 0"));
        }
        if self.top_k == Some(0) {
            return Err(Error::parameter("top_k", 0, "at least 1"));
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(Error::parameter("top_p", p, "above 0 and at most 1"));
        }
        if let Some(p) = self.min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::parameter("min_p", p, "from 0 to 1"));
        }
        Ok(())
    }
}
