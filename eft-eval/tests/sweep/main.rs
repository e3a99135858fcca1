//! Sweeps: the texts are those that each value writes alone, whatever the batches are.
mod choose;
mod search;

use eft_core::combine::{amplified_delta, multi_objective, nucleus_delta};
use eft_core::decode::{Request, Variant};
use eft_core::sample::FrequencyPenalty;
use eft_core::{Decoding, EngineSpec, FnEngine, Host, Sampling, Source, TokenId, Vocab, from_fn};
use eft_eval::sweep::{Sweep, Swept};
use proptest::prelude::*;

const WIDTH: u32 = 7;

fn vocab(name: &str) -> Vocab {
    let letters = (0..WIDTH as u8).map(|id| vec![b'a' + id]);
    Vocab::new(name, letters).unwrap().with_eos([WIDTH - 1]).unwrap()
}

/// Scores that depend on the last tokens and on the seed.
fn scores(seed: u32, tokens: &[TokenId]) -> Vec<f32> {
    let recent =
        tokens.iter().rev().take(2).fold(seed, |hash, token| (hash ^ token).wrapping_mul(0x9e37_79b1));
    (0..WIDTH).map(|id| (recent.wrapping_mul(2 * id + 3) >> 24) as f32 / 64.0).collect()
}

fn model(name: &str, seed: u32) -> Source<Host> {
    from_fn(Host, vocab(name), move |tokens| Ok(scores(seed, tokens)))
}

/// The texts that the variants write by themselves.
fn alone(variants: &[(f32, Variant<Host>)], requests: &[Request]) -> Vec<Vec<Option<String>>> {
    let of = |(_, variant): &(f32, Variant<Host>)| {
        let batch = variant.source.generate_batch(requests.iter().cloned(), &variant.decoding).unwrap();
        batch.text().unwrap().read().into_iter().map(Result::ok).collect()
    };
    variants.iter().map(of).collect()
}

fn texts(swept: Swept) -> Vec<Vec<Option<String>>> {
    let of = |texts: Vec<_>| {
        texts.into_iter().map(|text: eft_eval::sweep::SweptText| text.ok().map(|t| t.text)).collect()
    };
    swept.texts.into_iter().map(of).collect()
}

proptest! {
    #[test]
    fn texts_do_not_depend_on_the_batches(
        alphas in prop::collection::vec(0.0..2.0_f32, 1..5),
        temperature in prop::sample::select(vec![0.0, 0.8]),
        prompts in prop::collection::vec((prop::collection::vec(0..WIDTH, 0..4), 1..3_usize), 1..6),
        batch in 1..5_usize,
    ) {
        let (large, small) = (model("large", 1), model("small", 2));
        let sampling = Sampling::default().temperature(temperature).seed(3);
        let decoding = Decoding::from(sampling).processor(FrequencyPenalty::new(0.3).unwrap()).max_tokens(8);
        let variants: Vec<_> =
            alphas.iter().map(|alpha| (*alpha, Variant::new(&large + *alpha * &small, &decoding))).collect();
        let requests: Vec<_> =
            prompts.into_iter().map(|(prompt, samples)| Request::new(prompt).samples(samples).until("ab")).collect();
        let swept = Sweep::new(variants.clone()).batch(batch).run(requests.clone()).unwrap();
        // Alone, requests that are all refused are an error of the batch.
        if requests.iter().all(|request| request.prompt == [].into()) {
            prop_assert!(swept.texts.iter().flatten().all(Result::is_err));
        } else {
            prop_assert_eq!(texts(swept), alone(&variants, &requests));
        }
    }
}

/// The settings that a user may sweep over, beside α: β, λ, the mass of a nucleus, and the temperature.
#[test]
fn every_kind_of_setting_can_be_swept() {
    let (large, small) = (model("large", 1), model("small", 2));
    let (tuned, other) = (model("tuned", 3), model("other", 4));
    let decoding = Decoding::from(Sampling::default().seed(5)).max_tokens(8);
    let requests: Vec<Request> = (0..6).map(|prompt| Request::new([prompt]).samples(2)).collect();
    let values = [0.2, 0.5, 0.9_f32];
    let of_source = |source: &dyn Fn(f32) -> eft_core::Result<Source<Host>>| {
        values.map(|value| (value, Variant::new(source(value).unwrap(), &decoding)))
    };
    let hot = |value| Variant::new(large.clone(), Sampling::default().temperature(value).seed(5));
    let sweeps = [
        of_source(&|beta| amplified_delta(&large, &tuned, &small, beta)),
        of_source(&|lambda| {
            multi_objective(&large, [(lambda, &tuned, &small), (1.0 - lambda, &other, &small)])
        }),
        of_source(&|p| nucleus_delta(&large, &tuned, &small, 1.0, p)),
        values.map(|value| {
            let mut variant = hot(value);
            variant.decoding.max_tokens = Some(8);
            (value, variant)
        }),
    ];
    for variants in sweeps {
        let swept = texts(Sweep::new(variants.clone()).run(requests.clone()).unwrap());
        assert_eq!(swept, alone(&variants, &requests));
        assert!(swept.iter().any(|texts| *texts != swept[0]), "the value must matter: {swept:?}");
    }
}

#[test]
fn prompts_that_are_refused_do_not_fail_the_others() {
    let spec = EngineSpec::new("short", Host, vocab("short")).context(4);
    let model = Source::new(FnEngine::new(spec, |row| Ok(scores(1, &row.tokens))));
    let sweep = Sweep::over([1.0, 2.0], Decoding::default().max_tokens(2), |weight| *weight * &model);
    for batch in [1, 2, 5] {
        let prompts = [vec![1; 9], vec![1; 8], vec![2], vec![3; 7]];
        let swept = Sweep::over([1.0, 2.0], Decoding::default().max_tokens(2), |weight| *weight * &model);
        let swept = swept.batch(batch).run(prompts).unwrap();
        for texts in &swept.texts {
            assert_eq!(texts.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true, false]);
        }
    }
    assert!(sweep.run([vec![99]]).unwrap().texts[0][0].is_err());
    assert!(sweep.run(Vec::<Vec<TokenId>>::new()).unwrap().texts.iter().all(Vec::is_empty));
}

#[test]
fn what_is_wrong_with_the_settings_is_an_error() {
    let model = model("m", 1);
    let hot = Sweep::over([1.0], Sampling::default().temperature(-1.0), |weight| *weight * &model);
    assert!(hot.run([vec![1]]).is_err());
    let none = Sweep::over([], Sampling::greedy(), |weight: &f32| *weight * &model);
    assert!(none.run([vec![1]]).is_err());
}
