/// The number of measurements that are kept.
const KEPT: usize = 9;
/// The weight of a measurement that is longer than is usual, and the most times the usual one that it counts for.
const LONGER: (f64, f64) = (0.7, 1.5);
/// How often an estimate is made again, with the measurements weighed by the one before.
pub(super) const ESTIMATES: usize = 8;

/// The last times that something took, in seconds, and the time that is [usual]. Whatever delays many of them, such as another program or a first use of memory, hardly moves it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    /// Once all are there, `next` is the place of the next one.
    times: Vec<f64>,
    next: usize,
    usual: f64,
}

impl Recent {
    pub(super) fn add(&mut self, seconds: f64) {
        match self.times.get_mut(self.next) {
            Some(oldest) => *oldest = seconds,
            None => self.times.push(seconds),
        }
        self.next = (self.next + 1) % KEPT;
        self.usual = usual(&self.times);
    }

    /// The number of measurements so far, up to those that are kept.
    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// Returns the usual time; `None` before the first measurement.
    pub(super) fn usual(&self) -> Option<f64> {
        (!self.times.is_empty()).then_some(self.usual)
    }
}

/// The usual one of some times, which must be at least one: a mean in which those that are longer than it count for less.
pub(super) fn usual(times: &[f64]) -> f64 {
    let estimate = |usual: f64| {
        let weighed = times.iter().map(|seconds| weighed(*seconds, usual));
        let (sum, weights) =
            weighed.fold((0.0, 0.0), |(sum, all), (weight, x)| (sum + weight * x, all + weight));
        sum / weights
    };
    // From 0, no estimate would leave 0.
    let first = match lower_quartile(times.iter().copied()) {
        0.0 => times.iter().sum::<f64>() / times.len() as f64,
        quartile => quartile,
    };
    (0..ESTIMATES).fold(first, |usual, _| estimate(usual))
}

/// The weight of a measurement where `usual` was expected, and the time that it counts for.
pub(super) fn weighed(seconds: f64, usual: f64) -> (f64, f64) {
    if seconds > usual { (LONGER.0, seconds.min(LONGER.1 * usual)) } else { (1.0, seconds) }
}

/// The lower quartile of some numbers; of up to four, the least.
pub(super) fn lower_quartile(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = numbers.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 4).copied().unwrap_or_default()
}
