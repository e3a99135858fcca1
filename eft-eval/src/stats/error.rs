/// Numbers from which a statistic cannot be computed.
///
/// ```
/// use eft_eval::stats::{Bootstrap, Clusters, StatsError};
///
/// let error = Bootstrap::default().mean(&[1.0, f64::NAN], &Clusters::each(2)).unwrap_err();
/// assert_eq!(error, StatsError::NotFinite { what: "score", index: 1, value: "NaN".into() });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// A number is NaN or infinite.
    #[error("{what} {index} is {value}, which is not a finite number")]
    NotFinite {
        /// The kind of number.
        what: &'static str,
        /// Its index, counted from 0.
        index: usize,
        /// The number, as text.
        value: String,
    },
    /// A number is not above 0.
    #[error("{what} {index} is {value}, which is not above 0")]
    NotPositive {
        /// The kind of number.
        what: &'static str,
        /// Its index, counted from 0.
        index: usize,
        /// The number, as text.
        value: String,
    },
    /// A list has not one entry for each item or value that it belongs to.
    #[error("{what}: {got} instead of {expected}")]
    Lengths {
        /// What the list holds.
        what: &'static str,
        /// The number of items or values.
        expected: usize,
        /// The length of the list.
        got: usize,
    },
    /// There are too few numbers, clusters or points.
    #[error("{what}: {got}, but at least {needed} are needed")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The least number of them.
        needed: usize,
        /// The number of them.
        got: usize,
    },
    /// The scores of the reference and of the base have the same mean, so that there is no gap to close.
    #[error("the reference and the base have the same mean score, {mean}, so there is no gap to close")]
    NoGap {
        /// The mean, as text.
        mean: String,
    },
    /// A statistic is not a finite number, although its input is: its numbers are too large.
    #[error("the {statistic} is too large for a 64-bit number")]
    Overflow {
        /// The name of the statistic.
        statistic: &'static str,
    },
    /// The statistic has no value in any resample.
    #[error("the {statistic} has no value in any of {resamples} resamples")]
    Undefined {
        /// The name of the statistic.
        statistic: &'static str,
        /// The number of resamples.
        resamples: usize,
    },
    /// A setting is out of its range.
    #[error("{name} is {value}: it must be {range}")]
    InvalidSetting {
        /// The name of the setting.
        name: &'static str,
        /// Its value, as text.
        value: String,
        /// A description of the range.
        range: &'static str,
    },
}
