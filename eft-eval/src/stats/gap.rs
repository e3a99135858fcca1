use std::fmt;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use super::checks::{at_least, finite, no_overflow, per_item};
use super::clusters::{Clusters, mean_of};
use super::error::StatsError;

/// How much of the gap between a base and a reference a source closes: `(source − base) / (reference − base)`, of mean
/// scores. It is 0 for a source that is no better than the base, and 1 for one that is as good as the reference. It is
/// the measure of the [proxy-tuning paper](https://arxiv.org/abs/2401.08565).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GapClosed {
    /// The share of the gap that is closed, over all items.
    pub value: f64,
    /// Its interval, over the resamples in which there is a gap.
    pub interval: Interval,
    /// The number of resamples in which the reference and the base have the same mean, so that the share has no value.
    pub undefined: usize,
    /// The number of resamples.
    pub resamples: usize,
}

impl Bootstrap {
    /// Returns how much of the gap between the base and the reference a source closes, with its interval. The three lists
    /// have the scores of the same items.
    ///
    /// Where the gap is small beside its own uncertainty, the denominator changes its sign between resamples, and the
    /// interval is wide. Look at the three means then.
    ///
    /// ```
    /// use eft_eval::stats::{Bootstrap, Clusters};
    ///
    /// let base = [0.0, 0.0, 0.0, 1.0];
    /// let up_scaled = [1.0, 1.0, 0.0, 1.0];
    /// let reference = [1.0, 1.0, 1.0, 1.0];
    /// let closed = Bootstrap::default().gap_closed(&base, &up_scaled, &reference, &Clusters::each(4))?;
    /// assert!((closed.value - 2.0 / 3.0).abs() < 1e-12);
    /// assert!(closed.undefined > 0); // the resamples of the last item only
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    ///
    /// # Errors
    /// * [`StatsError::NoGap`] if the base and the reference have the same mean over all items.
    /// * [`StatsError::Undefined`] if they have the same mean in every resample.
    /// * The errors of [`mean`](Self::mean), for any list of scores.
    pub fn gap_closed(
        &self,
        base: &[f64],
        source: &[f64],
        reference: &[f64],
        clusters: &Clusters,
    ) -> Result<GapClosed, StatsError> {
        let items = clusters.items();
        at_least("items", 1, items)?;
        let lists = [
            ("scores of the base", "score of the base,", base),
            ("scores of the source", "score of the source,", source),
            ("scores of the reference", "score of the reference,", reference),
        ];
        for (list, score, scores) in lists {
            per_item(list, items, scores.len())?;
            finite(score, scores)?;
        }
        let name = "share of the gap that is closed";
        let totals = [base, source, reference].map(|scores| clusters.totals(scores));
        let closed = |clusters: &[usize]| {
            let [base, source, reference] = [0, 1, 2].map(|list| mean_of(&totals[list], clusters));
            let gap = reference - base;
            (gap != 0.0).then(|| (source - base) / gap)
        };
        let all: Vec<_> = (0..clusters.len()).collect();
        let Some(value) = closed(&all) else {
            return Err(StatsError::NoGap { mean: mean_of(&totals[0], &all).to_string() });
        };
        let value = no_overflow(name, value)?;
        let resampled = self.interval(name, clusters.len(), closed)?;
        let (interval, undefined) = (resampled.interval, resampled.undefined);
        Ok(GapClosed { value, interval, undefined, resamples: self.resamples })
    }
}

impl fmt::Display for GapClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} {:.digits$}", self.value, self.interval)?;
        match self.undefined {
            0 => Ok(()),
            undefined => write!(f, " (no gap in {undefined} of {} resamples)", self.resamples),
        }
    }
}
