//! Laws of combinations, for any models: folding, flattening, and agreement with plain arithmetic.
mod large;
mod learned;
mod render;

use crate::common::*;
use eft_core::conformance::{SourceTest, check_source, check_traffic, reference};
use eft_core::{
    EngineSpec, Evaluator, FnEngine, Form, Host, PromptTransform, Sampling, Source, TokenId, combine, from_fn,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn alpha_zero_is_the_base_exactly(seed: u64, prompt in tokens(1..6), more in tokens(0..6)) {
        let (base, tuned, untuned) = trio(seed);
        let delta = combine::delta(&base, &tuned, &untuned, 0.0).unwrap();
        prop_assert_eq!(scores_after(&delta, &prompt, &more), scores_after(&base, &prompt, &more));
    }

    #[test]
    fn a_base_that_is_the_untuned_model_gives_the_tuned_one_exactly(
        seed: u64, prompt in tokens(1..6), more in tokens(0..6),
    ) {
        let (_, tuned, untuned) = trio(seed);
        for combined in [&untuned + (&tuned - &untuned), combine::delta(&untuned, &tuned, &untuned, 1.0).unwrap()] {
            prop_assert_eq!(scores_after(&combined, &prompt, &more), scores_after(&tuned, &prompt, &more));
        }
    }

    #[test]
    fn raw_logits_and_log_probs_give_the_same_distribution(
        seed: u64, prompt in tokens(1..6), alpha in -2.0f32..2.0,
    ) {
        let (base, tuned, untuned) = trio(seed);
        let normalised = |offset: u64| {
            let spec = EngineSpec::new("normalised", Host, vocab("normalised"));
            Source::new(FnEngine::new(spec, move |row| {
                let row = reference::log_softmax(&logits(seed.wrapping_add(offset), &row.tokens, WIDTH));
                Ok(row.into_iter().map(|x| x as f32).collect())
            }).form(Form::LogProbs))
        };
        let raw = combine::delta(&base, &tuned, &untuned, alpha).unwrap();
        let from_log_probs = combine::delta(&normalised(0), &normalised(1), &normalised(2), alpha).unwrap();
        let got = log_probs_after(&from_log_probs, &prompt, &[]);
        let expected = log_probs_after(&raw, &prompt, &[]);
        assert_near(&got, &expected, 1e-4);
    }

    #[test]
    fn trees_evaluate_to_their_plain_arithmetic(tree in tree(), prompt in tokens(1..5), more in tokens(0..4)) {
        let models: Vec<_> = (0..4).map(|i| model(&format!("m{i}"), i)).collect();
        let history = [&prompt[..], &more].concat();
        let expected = tree.evaluate(&history);
        let weights = tree.weights();
        match Evaluator::open(&[&tree.source(&models)], &[prompt.clone().into()]) {
            Ok(_) => {
                let got = scores_after(&tree.source(&models), &prompt, &more);
                let expected: Vec<_> = expected.iter().map(|x| *x as f32).collect();
                assert_near(&got, &expected, 1e-3 * weights.iter().map(|w| w.abs() as f32).sum::<f32>().max(1.0));
            }
            // Only where every weight came to zero.
            Err(eft_core::Error::NothingLeft { .. }) => prop_assert!(weights.iter().all(|w| w.abs() < 1e-5)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn linear_rules_are_their_weights(seed: u64, prompt in tokens(1..5), a in -2.0f32..3.0, b in -2.0f32..3.0) {
        let (base, tuned, untuned) = trio(seed);
        let l: Vec<Vec<f64>> = (0..3)
            .map(|i| logits(seed.wrapping_add(i), &prompt, WIDTH).into_iter().map(f64::from).collect())
            .collect();
        let (a64, b64) = (f64::from(a), f64::from(b));
        let by_weights = |w: [f64; 3]| -> Vec<f32> {
            (0..WIDTH).map(|i| (w[0] * l[0][i] + w[1] * l[1][i] + w[2] * l[2][i]) as f32).collect()
        };
        let rules = [
            (combine::delta(&base, &tuned, &untuned, a).unwrap(), [1.0, a64, -a64]),
            (combine::amplified_delta(&base, &tuned, &untuned, b).unwrap(), [b64, 1.0, -b64]),
            (combine::balanced_delta(&base, &tuned, &untuned, a, b).unwrap(), [b64, a64, 1.0 - a64 - b64]),
            (combine::realign(&untuned, &tuned, a).unwrap(), [0.0, a64, 1.0 - a64]),
            (combine::multi_objective(&base, [(a, &tuned, &untuned), (b, &tuned, &untuned)]).unwrap(),
                [1.0, a64 + b64, -a64 - b64]),
            (combine::weighted([(a, &base), (b, &tuned)]).unwrap(), [a64, b64, 0.0]),
        ];
        for (rule, weights) in rules {
            assert_near(&scores_after(&rule, &prompt, &[]), &by_weights(weights), 1e-3);
        }
        if a + b > 0.1 {
            let (sum, tolerance) = (a64 + b64, (1e-3 / (a + b)).max(1e-3));
            let pool = combine::product_of_experts([(a, &base), (b, &tuned)]).unwrap();
            assert_near(&scores_after(&pool, &prompt, &[]), &by_weights([a64 / sum, b64 / sum, 0.0]), tolerance);
            let formula = combine::arithmetic(&(a * &base + b * &tuned)).unwrap();
            assert_near(&scores_after(&formula, &prompt, &[]), &by_weights([a64 / sum, b64 / sum, 0.0]), tolerance);
        }
    }

    #[test]
    fn other_rules_are_their_formulas(seed: u64, prompt in tokens(1..5), w in 0.05f32..0.95, p in 0.1f32..0.99) {
        let (base, tuned, untuned) = trio(seed);
        let pi: Vec<Vec<f64>> =
            (0..3).map(|i| reference::log_softmax(&logits(seed.wrapping_add(i), &prompt, WIDTH))).collect();
        let (w64, beta) = (f64::from(w), 1.5f64);
        let each = |f: &dyn Fn(usize) -> f64| -> Vec<f32> {
            let row: Vec<_> = (0..WIDTH).map(|i| f(i) as f32).collect();
            reference::log_softmax(&row).into_iter().map(|x| x as f32).collect()
        };
        let pairs = [(w, &base), (1.0 - w, &tuned)];
        let power = |alpha: f64, i: usize| {
            let sum = w64 * (-alpha * pi[0][i]).exp() + (1.0 - w64) * (-alpha * pi[1][i]).exp();
            -sum.ln() / alpha
        };
        let nucleus = reference::filter(
            &pi[1].iter().map(|x| *x as f32).collect::<Vec<_>>(),
            &eft_core::Filter { top_p: Some(p), ..Default::default() },
        );
        let best = pi[0].iter().copied().fold(f64::MIN, f64::max);
        let rules: Vec<(Source<Host>, Vec<f32>)> = vec![
            (combine::mixture(pairs).unwrap(), each(&|i| power(-1.0, i))),
            (combine::power_mean(pairs, 1.0).unwrap(), each(&|i| power(1.0, i))),
            (combine::power_mean(pairs, -0.4).unwrap(), each(&|i| power(-0.4, i))),
            (combine::power_mean(pairs, 0.0).unwrap(), each(&|i| w64 * pi[0][i] + (1.0 - w64) * pi[1][i])),
            (combine::union([&base, &tuned]).unwrap(), each(&|i| pi[0][i].max(pi[1][i]))),
            (combine::intersection([&base, &tuned]).unwrap(), each(&|i| pi[0][i].min(pi[1][i]))),
            (combine::nucleus_delta(&base, &tuned, &untuned, beta as f32, p).unwrap(), each(&|i| {
                let inside = nucleus[i] > f64::NEG_INFINITY;
                pi[1][i] + if inside { beta * (pi[0][i] - pi[2][i]) } else { 0.0 }
            })),
            (combine::plausibility(&(&base - 0.5 * &untuned), &base, 0.1).unwrap(), each(&|i| {
                let plausible = pi[0][i] >= 0.1f64.ln() + best;
                if plausible { pi[0][i] - 0.5 * pi[2][i] } else { f64::NEG_INFINITY }
            })),
            (combine::gate(&base, &tuned, p).unwrap(), each(&|i| {
                if best >= f64::from(p).ln() { pi[0][i] } else { pi[1][i] }
            })),
        ];
        for (rule, expected) in rules {
            assert_near(&log_probs_after(&rule, &prompt, &[]), &expected, 1e-4);
        }
    }
}

fn tokens(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<TokenId>> {
    prop::collection::vec(0..WIDTH as TokenId, count)
}

fn trio(seed: u64) -> (Source<Host>, Source<Host>, Source<Host>) {
    let at = |name, i| model(name, seed.wrapping_add(i));
    (at("base", 0), at("tuned", 1), at("untuned", 2))
}

/// An expression as a user might write it, with a plain evaluation.
#[derive(Debug, Clone)]
enum Tree {
    Model(usize),
    Scale(f32, Box<Tree>),
    Plus(Box<Tree>, Box<Tree>),
    Minus(Box<Tree>, Box<Tree>),
    Named(Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let weight = prop_oneof![Just(0.0f32), Just(1.0), Just(-1.0), -2.0f32..2.0];
    (0usize..4).prop_map(Tree::Model).prop_recursive(5, 24, 2, move |inner| {
        prop_oneof![
            (weight.clone(), inner.clone()).prop_map(|(w, t)| Tree::Scale(w, t.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Plus(a.into(), b.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Minus(a.into(), b.into())),
            inner.prop_map(|t| Tree::Named(t.into())),
        ]
    })
}

impl Tree {
    fn source(&self, models: &[Source<Host>]) -> Source<Host> {
        match self {
            Self::Model(i) => models[*i].clone(),
            Self::Scale(w, t) => *w * t.source(models),
            Self::Plus(a, b) => a.source(models) + b.source(models),
            Self::Minus(a, b) => a.source(models) - &b.source(models),
            Self::Named(t) => t.source(models).named("part"),
        }
    }

    fn evaluate(&self, tokens: &[TokenId]) -> Vec<f64> {
        let both = |a: &Tree, b: &Tree, sign: f64| -> Vec<f64> {
            a.evaluate(tokens).iter().zip(b.evaluate(tokens)).map(|(a, b)| a + sign * b).collect()
        };
        match self {
            Self::Model(i) => logits(*i as u64, tokens, WIDTH).into_iter().map(f64::from).collect(),
            Self::Scale(w, t) => t.evaluate(tokens).iter().map(|x| f64::from(*w) * x).collect(),
            Self::Plus(a, b) => both(a, b, 1.0),
            Self::Minus(a, b) => both(a, b, -1.0),
            Self::Named(t) => t.evaluate(tokens),
        }
    }

    /// The total weight of each model.
    fn weights(&self) -> [f64; 4] {
        let both = |a: &Tree, b: &Tree, sign: f64| {
            let (a, b) = (a.weights(), b.weights());
            std::array::from_fn(|i| a[i] + sign * b[i])
        };
        match self {
            Self::Model(i) => std::array::from_fn(|k| f64::from(u8::from(k == *i))),
            Self::Scale(w, t) => t.weights().map(|x| f64::from(*w) * x),
            Self::Plus(a, b) => both(a, b, 1.0),
            Self::Minus(a, b) => both(a, b, -1.0),
            Self::Named(t) => t.weights(),
        }
    }
}

#[test]
fn combinations_obey_the_laws_of_sources() {
    let (a, b, c) = (model("a", 1), model("b", 2), model("c", 3));
    let prompts = || [vec![0], vec![3, 1, 4, 1], vec![5, 9]];
    let all = [
        a.clone(),
        &a + 0.7 * (&b - &c),
        combine::guidance(&a, PromptTransform::prefix([2, 2]), 0.5).unwrap(),
        combine::mixture([(0.4, &a), (0.6, &b)]).unwrap(),
        0.5 * combine::nucleus_delta(&a, &b, &c, 1.0, 0.8).unwrap() + &c,
        Source::opaque(&a + &b),
        eft_core::bridge(&a - 0.3 * &b, Host),
        counted("adapted", 4, &["x"]).0.adapter("x").unwrap(),
    ];
    for (i, source) in all.iter().enumerate() {
        for seed in 0..4 {
            check_source(source, &SourceTest::new(prompts()).seed(seed))
                .unwrap_or_else(|e| panic!("{i}: {e}"));
        }
        check_traffic(source, &SourceTest::new(prompts())).unwrap_or_else(|e| panic!("{i}: {e}"));
    }
}

#[test]
fn every_forwarding_type_is_a_source() {
    fn open(source: impl eft_core::LogitSource<Backend = Host>) -> usize {
        source.open(&[[1].into()]).unwrap().1.width()
    }
    let source = model("m", 1);
    assert_eq!(open(&source), WIDTH);
    assert_eq!(open(Box::new(source.clone())), WIDTH);
    assert_eq!(open(std::sync::Arc::new(source.clone())), WIDTH);
    let boxed: Box<dyn eft_core::LogitSource<Backend = Host>> = Box::new(source);
    assert_eq!(open(boxed), WIDTH);
}

#[test]
fn terms_of_one_engine_share_its_passes() {
    let (small, counts) = counted("small", 3, &["helpful", "harmless"]);
    let base = model("base", 1);
    let (helpful, harmless) = (small.adapter("helpful").unwrap(), small.adapter("harmless").unwrap());
    let mixed = combine::multi_objective(&base, [(0.7, &helpful, &small), (0.3, &harmless, &small)]).unwrap();
    let drawn = mixed.generate([1, 2, 3], eft_core::Decoding::default().stop_ids([]).max_tokens(5)).unwrap();
    assert_eq!(drawn.filter(|t| t.is_ok()).count(), 5);
    // The prompt under three adapters, then four tokens: the fifth is never fed.
    assert_eq!(counts.take(), (1 + 4, 3 * 3 + 4 * 3));
}

#[test]
fn equal_terms_cost_one_row_and_cancelled_ones_none() {
    let (small, counts) = counted("small", 3, &[]);
    let large = model("large", 1);
    for (combination, rows) in [
        (&large + (&small - &small.named("same")), 0),
        (&large + 0.5 * &small + 0.5 * &small, 1),
        (&large + 0.1 * &small + 0.2 * &small - 0.3 * &small, 0),
        (&large + &small - small.under(PromptTransform::prefix([])), 0),
        (&large + &small - small.under(PromptTransform::prefix([4])), 2),
    ] {
        let mut evaluator = Evaluator::open(&[&combination], &[[1, 2].into()]).unwrap();
        evaluator.push(&[vec![1]]).unwrap();
        evaluator.eval_last(0).unwrap();
        let (passes, tokens) = counts.take();
        let prompt = if rows == 2 { 2 + 3 } else { 2 * rows };
        assert_eq!((passes, tokens), (if rows > 0 { 2 } else { 0 }, prompt + rows), "{combination}");
    }
}

#[test]
fn text_does_not_depend_on_the_batch() {
    let source = model("a", 1) + (model("b", 2) - model("c", 3));
    let prompts = [vec![0], vec![3, 1, 4, 1], vec![5, 9], vec![0]];
    let decoding = eft_core::Decoding::from(Sampling::default().top_p(0.95).seed(9)).max_tokens(30);
    let mut together = vec![Vec::new(); prompts.len()];
    for event in source.generate_batch(prompts.clone(), decoding.clone()).unwrap() {
        if let eft_core::decode::Event::Token { row, token } = event.unwrap() {
            together[row].push((token.id, token.log_prob));
        }
    }
    // Row 0 alone draws the same uniforms; the others draw those of their index.
    let alone: Vec<_> = source
        .generate(prompts[0].clone(), decoding)
        .unwrap()
        .map(|t| t.unwrap())
        .map(|t| (t.id, t.log_prob))
        .collect();
    assert_eq!(together[0], alone);
    assert_ne!(together[0], together[3], "rows draw different uniforms");
    assert!(together.iter().any(|t| t.len() < 30) && together.iter().any(|t| t.len() > 2), "{together:?}");
}

#[test]
fn terms_in_threads_give_the_same() {
    let source = model("a", 1) + 0.5 * (model("b", 2) - model("c", 3));
    let texts: Vec<Vec<_>> = [false, true]
        .into_iter()
        .map(|parallel| {
            let decoding = eft_core::Decoding::default().parallel(parallel).max_tokens(20);
            source.generate([1], decoding).unwrap().map(|t| t.unwrap()).collect()
        })
        .collect();
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn a_source_can_be_used_from_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let source = from_fn(Host, vocab("v"), |t| Ok(logits(1, t, WIDTH)));
    shared(&source);
    let generation = source.generate([0], Sampling::default()).unwrap();
    let count = std::thread::spawn(move || generation.take(3).count()).join().unwrap();
    assert!(count > 0);
}
