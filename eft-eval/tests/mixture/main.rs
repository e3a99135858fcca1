//! Learned mixtures: the function against numpy, fits against what they must find, files against faults.
use eft_core::combine::{self, MixtureFeatures, MixtureWeights};
use eft_core::error::with_sources;
use eft_core::{Host, Source, Vocab, from_fn};
use eft_eval::mixture::{Error, Fit, Observations, load, save};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    function: MixtureWeights,
    positions: Vec<Position>,
}

#[derive(Deserialize)]
struct Position {
    logits: Vec<Vec<f32>>,
    features: Vec<f64>,
    weights: Vec<f64>,
    mixture: Vec<f32>,
}

fn near(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let differs = |(a, b): (&f64, &f64)| (a - b).abs() > tolerance;
    assert!(!got.iter().zip(expected).any(differs), "{got:?} {expected:?}");
}

#[test]
fn functions_features_and_mixtures_equal_those_of_numpy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../goldens/mixture.json")).unwrap();
    for Case { function, positions } in &cases {
        for position in positions {
            near(&function.of(&position.features), &position.weights, 1e-12);
            let sources: Vec<Source<Host>> = position
                .logits
                .iter()
                .map(|logits| {
                    let (logits, vocab) =
                        (logits.clone(), Vocab::new("v", (0..logits.len()).map(|i| i.to_string())));
                    from_fn(Host, vocab.unwrap(), move |_| Ok(logits.clone()))
                })
                .collect();
            let tokens = position.logits[0].len();
            let texts = (0..tokens as u32).map(|token| ([0], vec![token]));
            let seen = Observations::of(&sources, function.features(), texts.clone()).unwrap();
            assert_eq!(seen.tokens().len(), tokens);
            near(&seen.tokens()[0].features, &position.features, 2e-3);
            let mixed = combine::learned_mixture(function.clone(), &sources).unwrap();
            let scored: Vec<f64> = mixed.score_batch(texts).unwrap().iter().map(|s| s.total).collect();
            near(&scored, &position.mixture.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), 5e-3);
            // The observations predict what the source will say.
            let surprisals = seen.surprisals(function).unwrap();
            near(&surprisals.iter().map(|x| -x).collect::<Vec<_>>(), &scored, 1e-5);
        }
    }
}

const WIDTH: usize = 8;

/// Two models of which one is sure and right after even tokens, the other after odd ones.
fn experts() -> [Source<Host>; 2] {
    let expert = |name: &str, parity: u32| {
        let vocab = Vocab::new(name, (0..WIDTH).map(|i| i.to_string())).unwrap();
        from_fn(Host, vocab, move |tokens| {
            let last = tokens.last().copied().unwrap_or(0);
            let next = (last * 3 + 1) % WIDTH as u32;
            let sharpness = if last % 2 == parity { 5.0 } else { 0.5 };
            let wrong = (last + 2 + parity) % WIDTH as u32;
            let likeliest = if last % 2 == parity { next } else { wrong };
            Ok((0..WIDTH as u32).map(|i| if i == likeliest { sharpness } else { 0.0 }).collect())
        })
    };
    [expert("even", 0), expert("odd", 1)]
}

/// Texts in which each token is the one that an expert expects.
fn texts(from: u32) -> Vec<([u32; 1], Vec<u32>)> {
    (from..from + 12)
        .map(|i| {
            let mut last = i % WIDTH as u32;
            let tokens = (0..10).map(|t| {
                // Every thirteenth token is one that nobody expects.
                last =
                    if (i + t) % 13 == 0 { (last + 5) % WIDTH as u32 } else { (last * 3 + 1) % WIDTH as u32 };
                last
            });
            ([i % WIDTH as u32], tokens.collect())
        })
        .collect()
}

#[test]
fn learned_weights_beat_constant_ones_on_texts_that_they_were_not_fitted_to() {
    let sources = experts();
    let features = MixtureFeatures::entropies().with_top(1);
    let fitted = Observations::of(&sources, features, texts(0)).unwrap();
    let held_out = Observations::of(&sources, features, texts(12)).unwrap();
    let perplexity = |fit: Fit| held_out.perplexity(&fit.fit(&fitted).unwrap()).unwrap();
    let constant = perplexity(Fit::constant());
    let (logistic, perceptron) = (perplexity(Fit::logistic()), perplexity(Fit::perceptron(4)));
    assert!(logistic < 0.8 * constant, "{logistic} {constant}");
    assert!(perceptron < 0.8 * constant, "{perceptron} {constant}");
}

#[test]
fn the_constant_fit_is_the_best_of_all_constants() {
    let sources = experts();
    let seen = Observations::of(&sources, MixtureFeatures::none(), texts(3)).unwrap();
    let best = seen.perplexity(&Fit::constant().fit(&seen).unwrap()).unwrap();
    let at = |w: f32| seen.perplexity(&MixtureWeights::constant(&[w, 1.0 - w]).unwrap()).unwrap();
    let grid = (1..1000).map(|i| at(i as f32 / 1000.0)).fold(f64::INFINITY, f64::min);
    assert!(best <= grid + 1e-9 && grid - best < 1e-4, "{best} {grid}");
    assert!(at(0.02) > 1.1 * best, "the weight matters");
}

#[test]
fn a_fit_is_repeatable_and_its_settings_matter() {
    let sources = experts();
    let seen = Observations::of(&sources, MixtureFeatures::entropies(), texts(0)).unwrap();
    let fit = |fit: Fit| fit.fit(&seen).unwrap();
    assert_eq!(fit(Fit::perceptron(3)), fit(Fit::perceptron(3)));
    assert_ne!(fit(Fit::perceptron(3)), fit(Fit::perceptron(3).seed(1)));
    let size = |w: MixtureWeights| w.layers()[0].weights.iter().flatten().map(|x| x.abs()).sum::<f64>();
    assert!(size(fit(Fit::logistic().penalty(1.0))) < 0.5 * size(fit(Fit::logistic())));
    let start = fit(Fit::logistic().iterations(0));
    assert_eq!(start.of(&[1.0, 2.0]), [0.5, 0.5]);
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let sources = experts();
    let none: [([u32; 1], Vec<u32>); 0] = [];
    let empty = Observations::of(&sources, MixtureFeatures::entropies(), none).unwrap();
    assert!(matches!(Fit::constant().fit(&empty), Err(Error::NoTokens)));
    let weights = MixtureWeights::constant(&[0.5, 0.5]).unwrap();
    assert!(matches!(empty.perplexity(&weights), Err(Error::NoTokens)));

    let vocab = Vocab::new("v", ["a", "b"]).unwrap();
    let certain = from_fn(Host, vocab, |_| Ok(vec![0.0, f32::NEG_INFINITY]));
    let seen =
        Observations::of([&certain], MixtureFeatures::none(), [([0], vec![0]), ([0], vec![0, 1])]).unwrap();
    assert!(matches!(Fit::constant().fit(&seen), Err(Error::Impossible { text: 1, token: 1 })));

    let seen = Observations::of(&sources, MixtureFeatures::entropies(), texts(0)).unwrap();
    for fit in [Fit::logistic().penalty(-1.0), Fit::logistic().penalty(f64::NAN), Fit::perceptron(0)] {
        assert!(matches!(fit.fit(&seen), Err(Error::Setting { .. })));
    }
    let other = Observations::of(&sources, MixtureFeatures::none().with_top(2), texts(0)).unwrap();
    let error = other.surprisals(&Fit::logistic().fit(&seen).unwrap()).unwrap_err();
    assert!(matches!(error, Error::OtherFeatures { .. }), "{error}");
    assert!(matches!(
        Observations::of::<Host, [u32; 1]>([], MixtureFeatures::none(), []),
        Err(Error::Core(_))
    ));
}

#[test]
fn files_are_read_as_they_were_written_and_their_faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.json");
    let sources = experts();
    let seen = Observations::of(&sources, MixtureFeatures::entropies().with_top(2), texts(0)).unwrap();
    for fit in [Fit::constant(), Fit::logistic(), Fit::perceptron(3)] {
        let weights = fit.fit(&seen).unwrap();
        save(&weights, &file).unwrap();
        assert_eq!(load(&file).unwrap(), weights);
    }
    let good = std::fs::read_to_string(&file).unwrap();
    let refused = |text: &str, message: &str| {
        std::fs::write(&file, text).unwrap();
        let error = load(&file).unwrap_err();
        assert!(matches!(error, Error::Json { .. }));
        let shown = with_sources(&error);
        let begin = format!("{} does not hold the weights of a mixture: ", file.display());
        assert!(shown.starts_with(&begin) && shown.contains(message), "{shown}");
    };
    refused("", "line 1 column 0");
    refused(&good.replace("\"sources\":2,", ""), "missing field `sources`");
    refused(&good.replace("\"mean\"", "\"means\""), "unknown field `means`");
    refused(
        &good.replace("\"top\":2", "\"top\":3"),
        "`mean`: expected 8 numbers, one for each feature, got 6",
    );
    refused(
        &good.replace("\"sources\":2", "\"sources\":-2"),
        "invalid value: integer `-2`, expected usize at line 1",
    );
    refused(&good.replace("\"bias\":[", "\"bias\":[1.5,"), "`layers[0].weights`: expected 4 lists");
    let missing = load(folder.path().join("none.json")).unwrap_err();
    assert!(
        with_sources(&missing).starts_with(&format!("cannot read {}", folder.path().display())),
        "{missing}"
    );
    assert!(matches!(save(&load_ok(&good, &file), folder.path()), Err(Error::File { action: "write", .. })));
}

fn load_ok(text: &str, file: &std::path::Path) -> MixtureWeights {
    std::fs::write(file, text).unwrap();
    load(file).unwrap()
}
