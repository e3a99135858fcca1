//! Combinations built in loops: of any size without a stack overflow, and refused where they are too large to evaluate.
use eft_core::{Error, Evaluator, Host, PromptTransform, Sampling, Source, combine};

use crate::common::*;

const TIMES: usize = 100_000;

/// Calls that every source must support, whether or not it can be evaluated.
fn walk(source: &Source<Host>) {
    assert!(source.to_string().len() < 10_000);
    assert_eq!(source.vocab().real(), WIDTH);
    assert_eq!(source.stop_ids().len(), 1);
    let _ = (source.check(), source.render([1]), source.continuation("a"), source.adapter("none"));
    let _ = (source.speculate(), combine::arithmetic(source));
    assert!(format!("{source:?}").len() < 10_000);
}

#[track_caller]
fn near(source: &Source<Host>, expected: &Source<Host>, tolerance: f32) {
    assert_near(&scores_after(source, &[1], &[2]), &scores_after(expected, &[1], &[2]), tolerance);
}

#[test]
fn weights_of_weights_multiply() {
    let a = model("a", 1);
    let mut x = a.clone();
    for _ in 0..TIMES {
        x = 1.0 * x;
    }
    walk(&x);
    near(&x, &a, 0.0);
    for _ in 0..TIMES {
        x = -(x / 1.0);
    }
    walk(&x);
    near(&x, &a, 0.0);
    assert_eq!((2.0 * (0.5 * (3.0 * &a))).to_string(), "3·a");
    // In double precision: these would underflow, and then overflow, in single precision.
    let mut small = 1e-30 * (1e-30 * &a);
    assert_eq!(small.check().unwrap().common, WIDTH);
    small = 1e30 * (1e30 * small);
    near(&small, &a, 1e-5);
}

#[test]
fn sums_of_many_terms_and_deep_sums_are_flattened() {
    let (a, b) = (model("a", 1), model("b", 2));
    let mut flat = a.clone();
    let mut deep = a.clone();
    for i in 0..TIMES {
        flat = if i % 2 == 0 { flat + &b } else { flat - &b };
        deep = if i % 2 == 0 { &b + deep } else { &b - deep };
    }
    walk(&flat);
    near(&flat, &a, 1e-4);
    // b − (b + (b − (b + a))) = a
    walk(&deep);
    near(&deep, &a, 1e-4);
    let mut named = a.clone();
    for i in 0..TIMES {
        named = (0.5 * (named + &b)).named(format!("mean {i}"));
    }
    walk(&named);
    near(&named, &b, 1e-4);
}

#[test]
fn rules_and_prompts_nested_too_deeply_are_refused() {
    type Nest = fn(Source<Host>, &Source<Host>) -> Source<Host>;
    let (a, b) = (model("a", 1), model("b", 2));
    let nest: [(&str, Nest); 3] = [
        ("rules", |x, b| combine::union([&x, b]).unwrap()),
        ("prompts", |x, _| x.under(PromptTransform::prefix([1]))),
        ("rules in sums", |x, b| 0.5 * combine::mixture([(1.0, &x)]).unwrap() + b),
    ];
    for (what, nest) in nest {
        let mut x = a.clone();
        for level in 0..TIMES {
            x = nest(x, &b);
            if level == 99 {
                assert!(x.check().is_ok() && Evaluator::open(&[&x], &[[1].into()]).is_ok(), "{what}");
            }
        }
        walk(&x);
        assert!(matches!(x.check(), Err(Error::TooComplex { .. })), "{what}");
        assert!(matches!(x.generate([1], Sampling::default()), Err(Error::TooComplex { .. })), "{what}");
        // A clone that is dropped first leaves the rest alone.
        drop(x.clone());
        drop(x);
    }
}

#[test]
fn sums_that_double_in_a_loop_are_refused() {
    let mut x = model("a", 1);
    for _ in 0..64 {
        x = 0.5 * (&x + x.named("again"));
    }
    walk(&x);
    assert!(matches!(x.check(), Err(Error::TooComplex { .. })));
    assert!(matches!(Evaluator::open(&[&x], &[[1].into()]), Err(Error::TooComplex { .. })));
}

#[test]
fn a_deep_combination_can_be_dropped_from_several_threads() {
    let a = model("a", 1);
    let mut x = a.clone();
    for _ in 0..TIMES {
        x = &a + x.named("part");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let x = x.clone();
            std::thread::spawn(move || drop(x))
        })
        .collect();
    drop(x);
    threads.into_iter().for_each(|t| t.join().unwrap());
}
