//! `large + 0.7 * (tuned - untuned)`, on sources and on references to them.
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::Source;
use crate::backend::Backend;
use crate::source::Node;

/// Appends to a sum that was written out as one, instead of nesting it.
fn plus<B: Backend>(left: &Source<B>, weight: f32, right: &Source<B>) -> Source<B> {
    let mut terms = match left.node() {
        Node::Sum(terms) if !left.is_named() => terms.clone(),
        _ => vec![(1.0, left.clone())],
    };
    match right.node() {
        // `a + 0.7 * b` is two terms, not one and a sum of one.
        Node::Sum(inner) if inner.len() == 1 && !right.is_named() => {
            terms.push((weight * inner[0].0, inner[0].1.clone()));
        }
        _ => terms.push((weight, right.clone())),
    }
    Source::sum(terms)
}

fn times<B: Backend>(weight: f32, source: &Source<B>) -> Source<B> {
    Source::sum(vec![(weight, source.clone())])
}

macro_rules! operators {
    ($([$($life:lifetime)?] $left:ty, [$($other:lifetime)?] $right:ty;)*) => {$(
        impl<$($life,)? $($other,)? B: Backend> Add<$right> for $left {
            type Output = Source<B>;

            fn add(self, right: $right) -> Source<B> {
                plus(&self, 1.0, &right)
            }
        }

        impl<$($life,)? $($other,)? B: Backend> Sub<$right> for $left {
            type Output = Source<B>;

            fn sub(self, right: $right) -> Source<B> {
                plus(&self, -1.0, &right)
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
                times(self, &source)
            }
        }

        impl<$($life,)? B: Backend> Mul<f32> for $source {
            type Output = Source<B>;

            fn mul(self, weight: f32) -> Source<B> {
                times(weight, &self)
            }
        }

        impl<$($life,)? B: Backend> Div<f32> for $source {
            type Output = Source<B>;

            fn div(self, divisor: f32) -> Source<B> {
                times(1.0 / divisor, &self)
            }
        }

        impl<$($life,)? B: Backend> Neg for $source {
            type Output = Source<B>;

            fn neg(self) -> Source<B> {
                times(-1.0, &self)
            }
        }
    )*};
}

scaling! {
    [] Source<B>;
    ['a] &'a Source<B>;
}
