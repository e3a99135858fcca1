//! Score rows to test operations on: some like those of models, some adversarial.
/// A kind of score row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Normal noise with a few peaks, like logits.
    Logits,
    /// Only a few distinct values, so that there are many ties.
    Ties,
    /// All equal.
    Flat,
    /// Mostly −∞.
    Sparse,
    /// One finite entry.
    Single,
    /// Of the order of 1e30, where sums of exponentials would overflow.
    Huge,
}

pub(super) const KINDS: [Kind; 6] =
    [Kind::Logits, Kind::Ties, Kind::Flat, Kind::Sparse, Kind::Single, Kind::Huge];

impl Kind {
    /// Returns a row: the same one for the same arguments.
    pub(super) fn row(self, width: usize, seed: u64) -> Vec<f32> {
        let uniform = |i: usize| uniform(seed << 32 | (self as u64) << 24, i as u64);
        let normal = |i: usize| {
            let radius = (-2.0 * (1.0 - uniform(2 * i)).ln()).sqrt();
            radius * (std::f32::consts::TAU * uniform(2 * i + 1)).cos()
        };
        let chosen = (uniform(0) * width as f32) as usize % width;
        let mut row: Vec<_> = match self {
            Self::Logits => (0..width).map(|i| 2.5 * normal(i)).collect(),
            Self::Ties => (0..width).map(|i| (uniform(i) * 4.0).floor() - 2.0).collect(),
            Self::Flat => vec![0.25; width],
            Self::Sparse => {
                let entry = |i| if uniform(2 * i) < 0.02 { normal(i) } else { f32::NEG_INFINITY };
                (0..width).map(entry).collect()
            }
            Self::Single => vec![f32::NEG_INFINITY; width],
            Self::Huge => (0..width).map(|i| 1e30 * normal(i)).collect(),
        };
        match self {
            Self::Logits => {
                for peak in 0..3 {
                    row[(chosen + 7 * peak) % width] += 6.0 + peak as f32;
                }
            }
            Self::Sparse | Self::Single => row[chosen] = 1.5,
            Self::Ties | Self::Flat | Self::Huge => {}
        }
        row
    }
}

/// A number in `[0, 1)` that looks random, by SplitMix64 (Steele et al. 2014). Rows as wide as a vocabulary would take a
/// generator of cryptographic quality longer to fill than most operations take to run.
fn uniform(seed: u64, i: u64) -> f32 {
    let mut x = (seed + i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Returns rows that no token may be chosen from, with descriptions.
pub(super) fn unsound(width: usize) -> Vec<(&'static str, Vec<f32>)> {
    let at = |i: usize, x: f32| {
        let mut row = Kind::Logits.row(width, 5);
        row[i] = x;
        row
    };
    vec![
        ("NaN first", at(0, f32::NAN)),
        ("NaN last", at(width - 1, f32::NAN)),
        ("NaN in the middle", at(width / 2, f32::NAN)),
        ("+∞", at(width / 2, f32::INFINITY)),
        ("nothing finite", vec![f32::NEG_INFINITY; width]),
    ]
}
