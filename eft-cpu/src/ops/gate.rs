use eft_core::host::math::exp;
use eft_models::spec::Activation;
use fearless_simd::Simd;

use crate::level::{self, Dot, Kernel};

/// Computes `activation(gate)·up` elementwise, or what [`Nn::gated`](eft_models::Nn::gated) says instead; `None` for an
/// activation that is not implemented here.
///
/// ```
/// use eft_models::spec::Activation;
///
/// assert_eq!(eft_cpu::ops::gated(&[0.0], &[5.0], Activation::Silu), Some(vec![0.0]));
/// ```
pub fn gated(gate: &[f32], up: &[f32], activation: Activation) -> Option<Vec<f32>> {
    let mut out = vec![0.0; gate.len()];
    match activation {
        Activation::Silu => level::run(Gate { gate, up, gating: Plain(silu), out: &mut out }),
        Activation::GeluTanh => level::run(Gate { gate, up, gating: Plain(gelu_tanh), out: &mut out }),
        Activation::ClampedSwish { alpha, limit } => {
            level::run(Gate { gate, up, gating: Clamped { alpha, limit }, out: &mut out });
        }
        Activation::Gelu | Activation::Relu => return None,
    }
    Some(out)
}

struct Gate<'a, G> {
    gate: &'a [f32],
    up: &'a [f32],
    gating: G,
    out: &'a mut [f32],
}

/// How a pair of numbers becomes one. A trait, not a closure, so that it is compiled for each set of vector instructions.
trait Gating {
    fn gated(&self, gate: f32, up: f32) -> f32;
}

/// `activation(gate)·up`.
struct Plain<F>(F);

/// [`Activation::ClampedSwish`].
struct Clamped {
    alpha: f32,
    limit: f32,
}

impl<F: Fn(f32) -> f32> Gating for Plain<F> {
    #[inline(always)]
    fn gated(&self, gate: f32, up: f32) -> f32 {
        self.0(gate) * up
    }
}

impl Gating for Clamped {
    #[inline(always)]
    fn gated(&self, gate: f32, up: f32) -> f32 {
        let Self { alpha, limit } = *self;
        // A comparison with NaN is false, so NaN is kept.
        let below = |x: f32| if x > limit { limit } else { x };
        let (gate, up) = (below(gate), below(up));
        let up = if up < -limit { -limit } else { up };
        gate * sigmoid(alpha * gate) * (up + 1.0)
    }
}

impl<G: Gating> Kernel for Gate<'_, G> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, _: S) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = self.gating.gated(*gate, *up);
        }
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`, where `(1 + tanh(y))/2` is the sigmoid of `2·y`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6;
    x * sigmoid(2.0 * ROOT * x * (1.0 + 0.044715 * x * x))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let part = 1.0 / (1.0 + small);
    if x < 0.0 { small * part } else { part }
}
