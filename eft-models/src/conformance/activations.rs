//! Activation functions as their definitions say.
use crate::spec::Activation;

/// The error function, to 1.5e-7 (Abramowitz and Stegun 1964, equation 7.1.26).
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
}

/// An activation function, in double precision.
pub(super) fn activated(x: f32, activation: Activation) -> f32 {
    let x = f64::from(x);
    let y = match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
        Activation::ClampedSwish { alpha, limit } => {
            let limit = f64::from(limit);
            let x = if x > limit { limit } else { x };
            x / (1.0 + (-f64::from(alpha) * x).exp())
        }
    };
    y as f32
}

/// The number that an activated gate is multiplied by.
pub(super) fn gate_factor(up: f32, activation: Activation) -> f32 {
    match activation {
        Activation::ClampedSwish { limit, .. } => up.clamp(-limit, limit) + 1.0,
        _ => up,
    }
}
