//! `large + 0.7 * (tuned - untuned)`, on sources and on references to them.
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::Source;
use crate::backend::Backend;

/// Clones the source, which copies a handle and no weights. The operators and rules use this for operands given by
/// reference.
impl<B: Backend> From<&Source<B>> for Source<B> {
    fn from(source: &Source<B>) -> Self {
        source.clone()
    }
}

macro_rules! operators {
    ($([$($life:lifetime)?] $left:ty, [$($other:lifetime)?] $right:ty;)*) => {$(
        impl<$($life,)? $($other,)? B: Backend> Add<$right> for $left {
            type Output = Source<B>;

            fn add(self, right: $right) -> Source<B> {
                Source::from(self).plus(1.0, &right)
            }
        }

        impl<$($life,)? $($other,)? B: Backend> Sub<$right> for $left {
            type Output = Source<B>;

            fn sub(self, right: $right) -> Source<B> {
                Source::from(self).plus(-1.0, &right)
            }
        }
    )*};
}

operators! {
    [] Source<B>, [] Source<B>;
    [] Source<B>, ['b] &'b Source<B>;
    ['a] &'a Source<B>, [] Source<B>;
    ['a] &'a Source<B>, ['b] &'b Source<B>;
}

macro_rules! scaling {
    ($([$($life:lifetime)?] $source:ty;)*) => {$(
        impl<$($life,)? B: Backend> Mul<$source> for f32 {
            type Output = Source<B>;

            fn mul(self, source: $source) -> Source<B> {
                source.times(f64::from(self))
            }
        }

        impl<$($life,)? B: Backend> Mul<f32> for $source {
            type Output = Source<B>;

            fn mul(self, weight: f32) -> Source<B> {
                self.times(f64::from(weight))
            }
        }

        impl<$($life,)? B: Backend> Div<f32> for $source {
            type Output = Source<B>;

            fn div(self, divisor: f32) -> Source<B> {
                self.times(f64::from(1.0 / divisor))
            }
        }

        impl<$($life,)? B: Backend> Neg for $source {
            type Output = Source<B>;

            fn neg(self) -> Source<B> {
                self.times(-1.0)
            }
        }
    )*};
}

scaling! {
    [] Source<B>;
    ['a] &'a Source<B>;
}
