//! The exponential and the logarithm in single precision, for kernels of your own: polynomials without branches, which the
//! compiler can turn into vector instructions on any processor.
//!
//! ```
//! use eft_core::host::math::{exp, ln};
//!
//! // A stable softmax: no exponent is above zero.
//! let scores = [1.0f32, 3.0, f32::NEG_INFINITY];
//! let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
//! let sum: f32 = scores.iter().map(|score| exp(score - largest)).sum();
//! let log_probs = scores.map(|score| score - largest - ln(sum));
//! assert!((log_probs[0] + 2.126928).abs() < 1e-6);
//! assert_eq!(log_probs[2], f32::NEG_INFINITY);
//! ```

/// [`exp`] is zero below this number. The smallest normal `f32` is `exp(-87.336)`.
pub(super) const EXP_ZERO: f32 = -87.33;

/// Returns `exp(x)` for `x ≤ 0`, within 2 ulp: exactly 0 below −87.33 and for −∞, exactly 1 for 0, NaN for NaN.
///
/// ```
/// assert_eq!(eft_core::host::math::exp(0.0), 1.0);
/// ```
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding this number to a float leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    // The polynomial is evaluated in pairs of terms (Estrin), so that fewer operations wait for one another.
    let square = r * r;
    let high = 1.381_454e-3 * square + (8.368_745e-3 * r + 4.166_839e-2);
    let p = (high * square + (1.666_652_1e-1 * r + 4.999_999_4e-1)) * square + r + 1.0;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < EXP_ZERO { 0.0 } else { p * power }
}

/// Returns `ln(x)` for `x ≥ 0`, within 2 ulp: −∞ below the smallest normal number, NaN for NaN.
///
/// ```
/// assert_eq!(eft_core::host::math::ln(1.0), 0.0);
/// ```
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF.to_bits());
    let exponent = ((bits as i32) >> 23) as f32;
    // The mantissa, scaled to [√½, √2).
    let r = f32::from_bits((bits & 0x007f_ffff).wrapping_add(SQRT_HALF.to_bits())) - 1.0;
    let p = 7.037_683_6e-2;
    let p = p * r - 1.151_461e-1;
    let p = p * r + 1.167_699_9e-1;
    let p = p * r - 1.242_014_1e-1;
    let p = p * r + 1.424_932_3e-1;
    let p = p * r - 1.666_805_7e-1;
    let p = p * r + 2.000_071_5e-1;
    let p = p * r - 2.499_999_4e-1;
    let p = p * r + 3.333_333e-1;
    let square = r * r;
    let p = p * r * square - 2.121_944_4e-4 * exponent - 0.5 * square;
    let value = r + p + 0.693_359_4 * exponent;
    let value = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { value };
    if x < f32::INFINITY { value } else { x }
}
