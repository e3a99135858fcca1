//! Normalisers, and what follows from them directly.
use super::net::{Kind, Net, Place, Var};

/// Columns of a block: sums are of no more at once.
const BLOCK: usize = 512;

/// Rows relative to their largest score, and their normalisers. `(n, 1)` holds one number for each of `n` rows.
pub(super) struct Mass {
    /// The largest score, `(n, 1)`.
    pub(super) max: Var,
    /// `scores − max`.
    pub(super) shifted: Var,
    /// The weights, `exp(scores − max)`, cut into blocks, the last one filled up with zeros: `(n, blocks, columns)`.
    pub(super) blocks: Var,
    /// How many blocks there are, and their columns.
    pub(super) cut: (usize, usize),
    /// The sum of each block, `(n, blocks)`.
    pub(super) sums: Var,
    /// `Σ weights`, `(n, 1)`.
    pub(super) sum: Var,
    /// Its logarithm, NaN exactly for unsound rows, `(n, 1)`.
    pub(super) log_sum: Var,
}

impl Mass {
    pub(super) fn of(net: &mut Net, scores: Var, width: usize) -> Self {
        let max = net.max(scores);
        let shifted = net.sub(scores, max);
        let weights = net.op("Exp", &[shifted]);
        // A long sum of `f32` loses digits.
        let columns = width.min(BLOCK);
        let count = width.div_ceil(columns);
        let ends = net.integers(&[0, 0, 0, (count * columns - width) as i64]);
        let padded = net.op("Pad", &[weights, ends]);
        let blocks = net.reshape(padded, &[-1, count as i64, columns as i64]);
        let sums = net.sum(blocks);
        let sums = net.reshape(sums, &[-1, count as i64]);
        let sum = net.sum(sums);
        // What is unsound is NaN once shifted, whatever a maximum makes of NaN: NaN itself, ∞ − ∞. Nothing is
        // above zero, so the sum of the rest is no NaN. An exponential may hide what it is given.
        let witness = net.sum(shifted);
        let unsound = net.op("IsNaN", &[witness]);
        let nan = net.number(f32::NAN);
        let log = net.op("Log", &[sum]);
        let log_sum = net.choose(unsound, nan, log);
        Self { max, shifted, blocks, cut: (count, columns), sums, sum, log_sum }
    }

    pub(super) fn log_softmax(&self, net: &mut Net) -> Var {
        net.sub(self.shifted, self.log_sum)
    }

    /// Zero for sound rows and NaN for others, `(n, 1)`: added to what must show it.
    pub(super) fn poison(&self, net: &mut Net) -> Var {
        let zero = net.number(0.0);
        net.mul(self.log_sum, zero)
    }
}

pub(super) fn log_softmax(net: &mut Net, scores: Var, width: usize) -> Var {
    Mass::of(net, scores, width).log_softmax(net)
}

/// Output: `(n, 1)`.
pub(super) fn log_normalizers(net: &mut Net, scores: Var, width: usize) {
    let mass = Mass::of(net, scores, width);
    let excluded = net.number(f32::NEG_INFINITY);
    let is_excluded = net.op("Equal", &[scores, excluded]);
    let is_excluded = net.cast(is_excluded, Kind::F32);
    let all = net.min(is_excluded);
    let all = net.cast(all, Kind::Bool);
    let normalizers = net.add(mass.max, mass.log_sum);
    let normalizers = net.choose(all, excluded, normalizers);
    net.output(normalizers, Kind::F32, 2, Place::Host);
}
