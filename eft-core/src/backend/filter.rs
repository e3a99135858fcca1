use crate::{Error, Result};

/// Temperature and truncation of one row, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// Scores are divided by it first; finite and above zero.
    pub temperature: f32,
    /// Keep the first `k` tokens; at least 1.
    pub top_k: Option<usize>,
    /// Keep the smallest set of first tokens whose mass reaches `p`, the crossing token included; in (0, 1].
    pub top_p: Option<f32>,
    /// Keep tokens whose probability is at least this fraction of the largest; in [0, 1].
    pub min_p: Option<f32>,
}

impl Default for Filter {
    /// Changes nothing.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None }
    }
}

impl Filter {
    /// Whether the filter leaves every row as it is.
    pub fn is_identity(&self) -> bool {
        self.temperature == 1.0 && !self.truncates()
    }

    /// Whether the filter can exclude a token.
    pub fn truncates(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some_and(|p| p < 1.0) || self.min_p.is_some_and(|p| p > 0.0)
    }

    /// Every setting in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the first that is not.
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
