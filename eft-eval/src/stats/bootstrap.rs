use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::checks::at_least;
use super::error::StatsError;

/// The settings of the percentile bootstrap, and the statistics that it gives intervals of.
///
/// By default 10,000 resamples are drawn with seed 0, for an interval that covers 95 %.
///
/// ```
/// use eft_eval::stats::{Bootstrap, Clusters};
///
/// let bootstrap = Bootstrap::default().resamples(2000).level(0.9).seed(3);
/// let mean = bootstrap.mean(&[0.0, 1.0, 1.0, 1.0], &Clusters::each(4))?;
/// assert_eq!((mean.value, mean.interval.high), (0.75, 1.0));
/// # Ok::<(), eft_eval::stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct Bootstrap {
    /// The number of resamples: at least 1.
    pub resamples: usize,
    /// The share of the resamples that an interval covers, above 0 and below 1.
    pub level: f64,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, level: 0.95, seed: 0 }
    }
}

/// The interval between two percentiles of a statistic.
///
/// ```
/// use eft_eval::stats::Interval;
///
/// let interval = Interval { low: 0.25, high: 0.5 };
/// assert_eq!(interval.to_string(), "[0.250, 0.500]");
/// assert_eq!(format!("{interval:.1}"), "[0.2, 0.5]");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The interval of a statistic over resamples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Resampled {
    /// The percentile interval, over the resamples in which the statistic has a value.
    pub interval: Interval,
    /// The number of resamples in which the statistic has no value.
    pub undefined: usize,
}

impl Bootstrap {
    /// Sets the number of resamples.
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Sets the share of the resamples that an interval covers.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the percentile interval of any statistic. `statistic` is called for each resample with as many indices as
    /// there are units, drawn from `0..units` with replacement. It returns `None`, or a number that is not finite, where
    /// it has no value. `name` names the statistic in errors.
    ///
    /// ```
    /// use eft_eval::stats::Bootstrap;
    ///
    /// let scores = [3.0, 1.0, 2.0, 5.0, 4.0];
    /// let maximum = Bootstrap::default().interval("maximum", 5, |drawn| {
    ///     drawn.iter().map(|index| scores[*index]).reduce(f64::max)
    /// })?;
    /// assert_eq!((maximum.interval.high, maximum.undefined), (5.0, 0));
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    ///
    /// # Errors
    /// * [`StatsError::InvalidSetting`] if a setting is out of its range.
    /// * [`StatsError::TooFew`] if there are fewer than two units: a resample of one unit is always that unit.
    /// * [`StatsError::Undefined`] if the statistic has no value in any resample.
    pub fn interval(
        &self,
        name: &'static str,
        units: usize,
        mut statistic: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Result<Resampled, StatsError> {
        self.validate()?;
        at_least("clusters to resample", 2, units)?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut drawn = vec![0; units];
        let mut values = Vec::new();
        for _ in 0..self.resamples {
            drawn.iter_mut().for_each(|index| *index = below(units, &mut random));
            values.extend(statistic(&drawn).filter(|value| value.is_finite()));
        }
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        match (percentile(&values, tail), percentile(&values, 1.0 - tail)) {
            (Some(low), Some(high)) => {
                let undefined = self.resamples - values.len();
                Ok(Resampled { interval: Interval { low, high }, undefined })
            }
            _ => Err(StatsError::Undefined { statistic: name, resamples: self.resamples }),
        }
    }

    /// Checks that the settings are in their ranges.
    ///
    /// # Errors
    /// [`StatsError::InvalidSetting`] for the first setting that is not.
    pub fn validate(&self) -> Result<(), StatsError> {
        let invalid = |name, value: String, range| Err(StatsError::InvalidSetting { name, value, range });
        if self.resamples == 0 {
            return invalid("the number of resamples", self.resamples.to_string(), "at least 1");
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return invalid("the level of an interval", self.level.to_string(), "above 0 and below 1");
        }
        Ok(())
    }
}

/// Draws an index below `count`. The probabilities of two indices differ by less than 2⁻⁶⁴.
fn below(count: usize, random: &mut ChaCha8Rng) -> usize {
    ((u128::from(random.next_u64()) * count as u128) >> 64) as usize
}

/// The number below which the share `at` of the sorted numbers lies, interpolated linearly between two neighbours as
/// `numpy.percentile` does. `None` if there are no numbers.
fn percentile(sorted: &[f64], at: f64) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? as f64 * at;
    let below = place.floor();
    let low = *sorted.get(below as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    // Halves are added, since the difference of two large numbers may overflow.
    let share = place - below;
    Some(low * (1.0 - share) + high * share)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "[{:.digits$}, {:.digits$}]", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated() {
        let sorted = [1.0, 2.0, 4.0];
        let at = |share| percentile(&sorted, share);
        assert_eq!(
            (at(0.0), at(0.25), at(0.5), at(0.75), at(1.0)),
            (Some(1.0), Some(1.5), Some(2.0), Some(3.0), Some(4.0))
        );
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn every_unit_is_drawn_equally_often() -> Result<(), StatsError> {
        let mut counts = [0_u32; 5];
        Bootstrap::default().resamples(20_000).interval("count", 5, |drawn| {
            drawn.iter().for_each(|index| counts[*index] += 1);
            Some(0.0)
        })?;
        // The standard deviation of each count is 126.
        assert!(counts.iter().all(|count| count.abs_diff(20_000) < 650), "{counts:?}");
        Ok(())
    }
}
