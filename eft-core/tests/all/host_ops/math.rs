//! The exponential and the logarithm of the host's kernels, against those of the standard library in f64.
use eft_core::host::math::{exp, ln};

/// The distance from the exact value in units of its last place.
fn ulps(got: f32, exact: f64) -> f64 {
    let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
    (f64::from(got) - exact).abs() / unit.abs()
}

#[test]
fn exp_is_within_two_ulp() {
    let mut worst = 0.0f64;
    for i in 0..4_000_000 {
        let x = -(i as f32) * (87.3 / 4_000_000.0);
        worst = worst.max(ulps(exp(x), f64::from(x).exp()));
    }
    assert!(worst <= 2.0, "{worst}");
}

#[test]
fn exp_of_the_extremes() {
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(-0.0), 1.0);
    for x in [f32::NEG_INFINITY, f32::MIN, -1e30, -1000.0, -88.0] {
        assert_eq!(exp(x).to_bits(), 0, "{x}");
    }
    assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
    assert!(exp(-87.33) >= f32::MIN_POSITIVE);
}

#[test]
fn ln_is_within_two_ulp() {
    let mut worst = 0.0f64;
    for bits in (f32::MIN_POSITIVE.to_bits()..f32::MAX.to_bits()).step_by(613) {
        let x = f32::from_bits(bits);
        worst = worst.max(ulps(ln(x), f64::from(x).ln()));
    }
    assert!(worst <= 2.0, "{worst}");
}

#[test]
fn ln_of_the_extremes() {
    assert_eq!(ln(1.0), 0.0);
    assert_eq!(ln(0.0), f32::NEG_INFINITY);
    assert_eq!(ln(f32::INFINITY), f32::INFINITY);
    assert!(ln(f32::NAN).is_nan());
}
