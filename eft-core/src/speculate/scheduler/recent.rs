/// The number of measurements that are kept.
const KEPT: usize = 9;
/// A measurement counts for at most this many times what is usual. With less, the mean of a model over bytes would be far too short: most of its
/// steps need no pass.
const LONGER: f64 = 4.0;
/// How often an estimate is made again, with measurements that are bounded by the one before.
pub(super) const ESTIMATES: usize = 16;

/// The last times that something took, in seconds, and the time that is [usual]. Whatever delays a few of them, such as another program or a
/// first use of memory, hardly moves it.
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

/// The mean of some times, at least one, of which none counts for much more than the others.
pub(super) fn usual(times: &[f64]) -> f64 {
    let mean =
        |usual: f64| times.iter().map(|seconds| bounded(*seconds, usual)).sum::<f64>() / times.len() as f64;
    // From 0, no estimate would leave 0.
    let first = match lower_quartile(times.iter().copied()) {
        0.0 => times.iter().sum::<f64>() / times.len() as f64,
        quartile => quartile,
    };
    (0..ESTIMATES).fold(first, |usual, _| mean(usual))
}

/// The time that a measurement counts for where `usual` was expected.
pub(super) fn bounded(seconds: f64, usual: f64) -> f64 {
    seconds.min(LONGER * usual)
}

/// The lower quartile of some numbers; of up to four, the least.
pub(super) fn lower_quartile(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = numbers.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 4).copied().unwrap_or_default()
}
