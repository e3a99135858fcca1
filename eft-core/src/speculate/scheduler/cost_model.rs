use super::recent::{ESTIMATES, bounded, lower_quartile};

/// The number of blocks that are kept.
const KEPT: usize = 32;
/// The weight of the pseudo-observation at length 0, in blocks.
const ANCHOR: f64 = 1.0;

/// The cost of a block as a function of its draft length.
///
/// The cost is fitted as affine in the length by least squares, with a pseudo-observation at length 0: an estimate from the
/// cost of a plain step. Without it, blocks of nearly equal lengths would leave the slope undetermined. A block that took much
/// longer than the fit predicts was delayed, and counts for less.
#[derive(Debug, Clone, Default)]
pub(super) struct CostModel {
    /// The length of each block, and the seconds that it took. Once all are there, `next` is the place of the next one.
    blocks: Vec<(f64, f64)>,
    next: usize,
    /// The fitted cost at length 0, and of each drafted token.
    fit: (f64, f64),
}

impl CostModel {
    /// Adds a measured block. `at_zero` is the estimated cost of a block of length 0.
    pub(super) fn add(&mut self, length: usize, seconds: f64, at_zero: f64) {
        let block = (length as f64, seconds);
        match self.blocks.get_mut(self.next) {
            Some(oldest) => *oldest = block,
            None => self.blocks.push(block),
        }
        self.next = (self.next + 1) % KEPT;
        self.fit = (lower_quartile(self.blocks.iter().map(|(_, seconds)| *seconds)), 0.0);
        (0..ESTIMATES).for_each(|_| self.fit = self.fitted(at_zero));
    }

    /// Fits the blocks, each of which counts for no more than the present fit allows.
    fn fitted(&self, at_zero: f64) -> (f64, f64) {
        let weight = self.blocks.len() as f64 + ANCHOR;
        let (mut x, mut y, mut xx, mut xy) = (0.0, ANCHOR * at_zero, 0.0, 0.0);
        for &(length, seconds) in &self.blocks {
            let seconds = bounded(seconds, self.fit.0 + self.fit.1 * length);
            (x, y, xx, xy) = (x + length, y + seconds, xx + length * length, xy + length * seconds);
        }
        let (x, y) = (x / weight, y / weight);
        let variance = xx / weight - x * x;
        // A longer block never costs less.
        let slope = if variance > 1e-9 { ((xy / weight - x * y) / variance).max(0.0) } else { 0.0 };
        ((y - slope * x).max(0.0), slope)
    }

    /// The number of blocks so far, up to those that are kept.
    pub(super) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// The seconds that each drafted token adds to the cost of a block.
    pub(super) fn of_token(&self) -> f64 {
        self.fit.1
    }

    /// Predicts the cost of a block in seconds: `at_zero` before any has been measured.
    pub(super) fn at(&self, length: usize, at_zero: f64) -> f64 {
        if self.blocks.is_empty() { at_zero } else { self.fit.0 + self.fit.1 * length as f64 }
    }
}
