//! Learned mixtures, against plain arithmetic in double precision.
use eft_core::combine::{self, Layer, MixtureFeatures, MixtureWeights};
use eft_core::conformance::{SourceTest, check_source, check_traffic, reference};
use eft_core::{Backend, Error, Host, backend::score_rows};
use proptest::prelude::*;

use crate::common::*;

/// Weights that depend on all features.
fn perceptron(sources: usize, features: MixtureFeatures, seed: u64) -> MixtureWeights {
    let number = |i: usize| ((i as f64 + seed as f64) * 1.7).sin() * 2.0;
    let layer = |inputs: usize, outputs: usize, from: usize| Layer {
        weights: (0..outputs).map(|o| (0..inputs).map(|i| number(from + o * inputs + i)).collect()).collect(),
        bias: (0..outputs).map(|o| number(from + 100 + o)).collect(),
    };
    let inputs = sources * features.per_source();
    MixtureWeights::new(sources, features, vec![layer(inputs, 5, 0), layer(5, sources, 50)])
        .unwrap()
        .standardised((0..inputs).map(number).collect(), (0..inputs).map(|i| 1.0 + number(i).abs()).collect())
        .unwrap()
}

/// The entropy of log-probabilities.
fn entropy(row: &[f64]) -> f64 {
    -row.iter().filter(|x| x.is_finite()).map(|x| x.exp() * x).sum::<f64>()
}

proptest! {
    #[test]
    fn constant_weights_are_the_mixture_exactly(
        seed: u64, prompt in prop::collection::vec(0..WIDTH as u32, 1..6), w in 0.05f32..0.95,
    ) {
        let (a, b) = (model("a", seed), model("b", seed.wrapping_add(1)));
        let learned = combine::learned_mixture(MixtureWeights::constant(&[w, 1.0 - w]).unwrap(), [&a, &b]).unwrap();
        let mixture = combine::mixture([(w, &a), (1.0 - w, &b)]).unwrap();
        prop_assert_eq!(scores_after(&learned, &prompt, &[]), scores_after(&mixture, &prompt, &[]));
    }

    #[test]
    fn weights_are_those_of_each_position(seed in 0u64..1000, prompt in prop::collection::vec(0..WIDTH as u32, 1..6)) {
        let sources: Vec<_> = (0..3).map(|i| model("m", seed + i)).collect();
        let weights = perceptron(3, MixtureFeatures::entropies().with_top(2), seed);
        let learned = combine::learned_mixture(weights.clone(), &sources).unwrap();
        // Several positions in one pass, with different weights.
        let tokens: Vec<u32> = (0..8).map(|i| (i * 5 + seed as u32) % WIDTH as u32).collect();
        let scored = learned.score(&prompt, &tokens).unwrap();
        let mut all = Vec::new();
        for (position, token) in tokens.iter().enumerate() {
            let history = [&prompt[..], &tokens[..position]].concat();
            let rows: Vec<_> =
                (0..3).map(|i| reference::log_softmax(&logits(seed + i, &history, WIDTH))).collect();
            let features = rows.iter().flat_map(|row| {
                let mut sorted = row.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                [entropy(row), sorted[0], sorted[1]]
            });
            let weights = weights.of(&features.collect::<Vec<_>>());
            let mixed = rows.iter().zip(&weights).map(|(row, w)| w * row[*token as usize].exp()).sum::<f64>().ln();
            prop_assert!((mixed - f64::from(scored.tokens[position])).abs() < 5e-3, "{position}: {mixed} {scored:?}");
            all.push(weights[0]);
        }
        prop_assert!(all.iter().any(|w| *w != all[0]), "the weights do not vary: {all:?}");
    }

    /// For rows as flat and as steep as those of language models.
    #[test]
    fn entropies_are_near(seed: u64, sharpness in 0.0f32..4.0, width in 2usize..3000) {
        let row: Vec<f32> = logits(seed, &[1], width).iter().map(|x| x * sharpness).collect();
        let row: Vec<f32> = reference::log_softmax(&row).iter().map(|x| *x as f32).collect();
        let tensor = Host.upload(&row, width).unwrap();
        let features = MixtureFeatures::entropies().of(&Host, &[score_rows(&tensor, 1)], width).unwrap();
        let expected = entropy(&row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        prop_assert!((features[0][0] - expected).abs() < 1e-3, "{} {expected}", features[0][0]);
    }
}

#[test]
fn a_learned_mixture_obeys_the_laws_of_sources() {
    let (a, b) = (model("a", 1), model("b", 2));
    let weights = perceptron(2, MixtureFeatures::entropies().with_top(3), 1);
    let source = combine::learned_mixture(weights, [&a, &b]).unwrap();
    let test = || SourceTest::new([vec![0], vec![3, 1, 4, 1], vec![5, 9]]);
    for seed in 0..4 {
        check_source(&source, &test().seed(seed)).unwrap();
    }
    check_traffic(&source, &test()).unwrap();
}

#[test]
fn features_of_rows_at_the_edge() {
    let rows = |rows: &[[f32; 3]]| Host.upload(rows.as_flattened(), 3).unwrap();
    let of = |tensor: <Host as Backend>::Tensor| {
        MixtureFeatures::entropies().with_top(2).of(&Host, &[score_rows(&tensor, 1)], 3).unwrap().remove(0)
    };
    // One token is certain: the entropy is 0, and no second token is known.
    assert_eq!(of(rows(&[[0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]])), [0.0, 0.0, -30.0]);
    let weights = MixtureWeights::new(
        1,
        MixtureFeatures::entropies().with_top(2),
        vec![Layer { weights: vec![vec![1.0; 3]], bias: vec![0.0] }],
    );
    for unsound in [[f32::NAN, 0.0, 0.0], [f32::NEG_INFINITY; 3], [f32::INFINITY, 0.0, 0.0]] {
        let features = of(rows(&[unsound]));
        assert!(features.iter().any(|x| x.is_nan()), "{unsound:?}: {features:?}");
        assert_eq!(weights.as_ref().unwrap().of(&features), [1.0]);
    }
    // Outputs that overflow are no weights.
    let huge = Layer { weights: vec![vec![1e308], vec![-1e308]], bias: vec![0.0, 0.0] };
    let features = MixtureFeatures::none().with_top(1);
    let first = Layer { weights: vec![vec![1.0, 0.0]], bias: vec![0.0] };
    let weights = MixtureWeights::new(2, features, vec![first, huge]).unwrap();
    assert!(weights.of(&[-1.0, -1.0]).iter().all(|w| w.is_finite()));
}

#[test]
fn a_failing_part_is_named() {
    let broken = eft_core::from_fn(Host, vocab("broken"), |_| Ok(vec![f32::NAN; WIDTH])).named("broken");
    let weights = perceptron(2, MixtureFeatures::entropies().with_top(1), 1);
    let source = combine::learned_mixture(weights, [&model("a", 1), &broken]).unwrap();
    match source.score([1], &[2]) {
        Err(Error::BadScores { term, .. }) => assert_eq!(term, "broken"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let layer = |rows: &[&[f64]], bias: &[f64]| Layer {
        weights: rows.iter().map(|row| row.to_vec()).collect(),
        bias: bias.to_vec(),
    };
    let entropies = MixtureFeatures::entropies();
    for (sources, layers, message) in [
        (0, vec![layer(&[], &[])], "`sources`: expected at least 1, got 0"),
        (2, vec![], "`layers`: expected at least one, got 0"),
        (
            2,
            vec![layer(&[&[1.0, 2.0]], &[1.0, 2.0])],
            "`layers[0].weights`: expected 2 lists, one for each number of its `bias`, got 1",
        ),
        (
            2,
            vec![layer(&[&[1.0], &[2.0, 3.0]], &[1.0, 2.0])],
            "`layers[0].weights[0]`: expected 2 numbers, one for each input, got 1",
        ),
        (
            2,
            vec![layer(&[&[1.0, 2.0]], &[1.0])],
            "`layers[0].bias`: expected 2 numbers, one for each source, got 1",
        ),
        (
            2,
            vec![layer(&[&[1.0, f64::NAN], &[1.0, 1.0]], &[1.0; 2])],
            "a number of `layers` is NaN, but must be a finite number",
        ),
    ] {
        assert_eq!(MixtureWeights::new(sources, entropies, layers).unwrap_err().to_string(), message);
    }
    let fits =
        || MixtureWeights::new(2, entropies, vec![layer(&[&[1.0, 2.0], &[3.0, 4.0]], &[1.0; 2])]).unwrap();
    for (mean, scale, message) in [
        (vec![0.0], vec![1.0; 2], "`mean`: expected 2 numbers, one for each feature, got 1"),
        (vec![0.0; 2], vec![1.0, 0.0], "a number of `scale` is 0, but must be a finite number above 0"),
        (vec![0.0, f64::INFINITY], vec![1.0; 2], "a number of `mean` is inf, but must be a finite number"),
    ] {
        assert_eq!(fits().standardised(mean, scale).unwrap_err().to_string(), message);
    }
    for constant in [&[][..], &[0.5, 0.6], &[1.0, 0.0], &[f32::NAN, 1.0]] {
        assert!(MixtureWeights::constant(constant).is_err(), "{constant:?}");
    }
    let error = combine::learned_mixture(fits(), [&model("a", 1)]).unwrap_err();
    assert_eq!(error.to_string(), "parts of learned_mixture: expected 2, got 1");
}
