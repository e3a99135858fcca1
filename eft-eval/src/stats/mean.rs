use std::fmt;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use super::checks::{at_least, finite, no_overflow, per_item};
use super::clusters::{Clusters, mean_of};
use super::error::StatsError;

/// A mean of scores, or of differences of scores, with its bootstrap interval.
///
/// ```
/// use eft_eval::stats::{Bootstrap, Clusters};
///
/// let mean = Bootstrap::default().mean(&[0.0, 1.0, 1.0, 0.0], &Clusters::each(4))?;
/// assert_eq!(mean.to_string(), "0.500 [0.000, 1.000]");
/// assert_eq!(format!("{mean:.1}"), "0.5 [0.0, 1.0]");
/// # Ok::<(), eft_eval::stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean over all items.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
    /// The number of items.
    pub items: usize,
    /// The number of clusters that were resampled.
    pub clusters: usize,
}

impl Bootstrap {
    /// Returns the mean of the scores of items, with its interval over resampled clusters. A resample with more items
    /// counts as one mean, like any other.
    ///
    /// ```
    /// use eft_eval::stats::{Bootstrap, Clusters};
    ///
    /// let scores = [1.0, 1.0, 0.0, 0.0];
    /// let alone = Bootstrap::default().mean(&scores, &Clusters::each(4))?;
    /// let pairs = Bootstrap::default().mean(&scores, &Clusters::by(["a", "a", "b", "b"]))?;
    /// assert_eq!(alone.value, pairs.value);
    /// assert_eq!((pairs.interval.low, pairs.interval.high), (0.0, 1.0)); // only two independent observations
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    ///
    /// # Errors
    /// * [`StatsError::TooFew`] if there are fewer than two clusters.
    /// * [`StatsError::Lengths`] unless there is a score for each item of the clusters.
    /// * [`StatsError::NotFinite`] if a score is NaN or infinite.
    /// * [`StatsError::Overflow`] if the sum of the scores is too large for a 64-bit number.
    /// * [`StatsError::InvalidSetting`] if a setting is out of its range.
    pub fn mean(&self, scores: &[f64], clusters: &Clusters) -> Result<Estimate, StatsError> {
        finite("score", scores)?;
        self.estimate("mean", scores, clusters)
    }

    /// Returns the mean of the differences `a − b` of two sources on the same items, with its interval over resampled
    /// clusters. If the interval does not contain 0, the sources differ. See also
    /// [`sign_test`](super::sign_test()).
    ///
    /// # Errors
    /// The errors of [`mean`](Self::mean), for either list of scores.
    pub fn difference(&self, a: &[f64], b: &[f64], clusters: &Clusters) -> Result<Estimate, StatsError> {
        per_item("scores of the second source", a.len(), b.len())?;
        finite("score of the first source,", a)?;
        finite("score of the second source,", b)?;
        let differences: Vec<_> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        self.estimate("mean difference", &differences, clusters)
    }

    fn estimate(
        &self,
        name: &'static str,
        scores: &[f64],
        clusters: &Clusters,
    ) -> Result<Estimate, StatsError> {
        per_item("scores", clusters.items(), scores.len())?;
        at_least("items", 1, scores.len())?;
        let value = no_overflow(name, scores.iter().sum::<f64>() / scores.len() as f64)?;
        let totals = clusters.totals(scores);
        let resampled = self.interval(name, totals.len(), |drawn| Some(mean_of(&totals, drawn)))?;
        Ok(Estimate { value, interval: resampled.interval, items: scores.len(), clusters: clusters.len() })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} {:.digits$}", self.value, self.interval)
    }
}
