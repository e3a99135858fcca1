use eft_core::host::math::exp;
use eft_models::spec::Activation;
use fearless_simd::Simd;

use crate::level::{self, Dot, Kernel};

/// Computes `activation(gate)·up` elementwise; `None` for an activation that is not implemented here.
///
/// ```
/// use eft_models::spec::Activation;
///
/// assert_eq!(eft_cpu::ops::gated(&[0.0], &[5.0], Activation::Silu), Some(vec![0.0]));
/// ```
pub fn gated(gate: &[f32], up: &[f32], activation: Activation) -> Option<Vec<f32>> {
    let mut out = vec![0.0; gate.len()];
    match activation {
        Activation::Silu => level::run(Gate { gate, up, activation: silu, out: &mut out }),
        Activation::GeluTanh => level::run(Gate { gate, up, activation: gelu_tanh, out: &mut out }),
        Activation::Gelu | Activation::Relu => return None,
    }
    Some(out)
}

struct Gate<'a, F> {
    gate: &'a [f32],
    up: &'a [f32],
    activation: F,
    out: &'a mut [f32],
}

impl<F: Fn(f32) -> f32> Kernel for Gate<'_, F> {
    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, _: S) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = (self.activation)(*gate) * up;
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
