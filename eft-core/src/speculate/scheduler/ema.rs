/// The share of a new measurement in the average.
const SHARE: f64 = 0.1;
/// A measurement counts for at most this many times the average.
const OUTLIER: f64 = 4.0;

/// An exponential moving average of times in seconds. A single hiccup of the machine does not move it far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ema(Option<f64>);

impl Ema {
    pub(super) fn add(&mut self, seconds: f64) {
        self.0 = Some(match self.0 {
            None => seconds,
            Some(mean) => mean + SHARE * (seconds.min(OUTLIER * mean) - mean),
        });
    }

    /// Returns the average; `None` before the first measurement.
    pub(super) fn mean(&self) -> Option<f64> {
        self.0
    }
}
