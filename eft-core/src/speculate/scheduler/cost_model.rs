/// The weight that is left of the measurements so far after each new one.
const DECAY: f64 = 0.97;
/// The weight of the pseudo-observation at length 0, in blocks.
const ANCHOR: f64 = 1.0;
/// A measurement counts for at most this many times the predicted cost.
const OUTLIER: f64 = 4.0;

/// The cost of a block as a function of its draft length.
///
/// The cost is fitted as affine in the length by decayed least squares, with a pseudo-observation at length 0: an
/// estimate from the cost of a plain step. Without it, blocks of nearly equal lengths would leave the slope
/// undetermined.
#[derive(Debug, Clone, Default)]
pub(super) struct CostModel {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl CostModel {
    /// Adds a measured block. `at_zero` is the estimated cost of a block of length 0.
    pub(super) fn add(&mut self, length: usize, seconds: f64, at_zero: f64) {
        let x = length as f64;
        let y = if self.weight == 0.0 { seconds } else { seconds.min(OUTLIER * self.at(length, at_zero)) };
        for (sum, new) in [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.y, y),
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
        ] {
            *sum = DECAY * *sum + new;
        }
    }

    /// Predicts the cost of a block in seconds.
    pub(super) fn at(&self, length: usize, at_zero: f64) -> f64 {
        let weight = self.weight + ANCHOR;
        let (x, y) = (self.x / weight, (self.y + ANCHOR * at_zero) / weight);
        let variance = self.xx / weight - x * x;
        // A longer block never costs less.
        let slope = match variance > 1e-9 {
            true => ((self.xy / weight - x * y) / variance).max(0.0),
            false => 0.0,
        };
        (y + slope * (length as f64 - x)).max(0.0)
    }
}
