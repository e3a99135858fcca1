//! The backend passes the kit, and generates what the host does.
use eft_backend_ort::Ort;
use eft_core::conformance::{Meter, SourceTest, check_backend, check_source, check_traffic};
use eft_core::sample::{RepetitionPenalty, Uniforms};
use eft_core::{Backend, Decoding, Host, Sampling, Source, TokenId, Vocab, from_fn};

const WIDTH: usize = 600;

/// Noise that depends on the last three tokens; the same on every backend.
fn model<B: Backend>(backend: B, seed: u64) -> Source<B> {
    let vocab = Vocab::new("toy", (0..WIDTH).map(|id| format!("<{id}>"))).unwrap();
    from_fn(backend, vocab, move |tokens| {
        let last = tokens.iter().rev().take(3).fold(seed, |hash, token| hash * 31 + u64::from(*token));
        let uniforms = Uniforms::new(last);
        Ok((0..WIDTH).map(|id| 8.0 * uniforms.at(0, id, eft_core::sample::Purpose::Draw) as f32).collect())
    })
}

fn prompts() -> SourceTest {
    SourceTest::new([vec![0], vec![1, 0, 1], vec![5, 9]])
}

fn checked(verdict: eft_core::conformance::Verdict) {
    verdict.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn operations() {
    checked(check_backend(&Ort::cpu().unwrap()));
}

#[test]
fn metered() {
    checked(check_backend(&Meter::new(Ort::cpu().unwrap())));
}

#[test]
fn sources() {
    let ort = Ort::cpu().unwrap();
    checked(check_source(&model(ort.clone(), 1), &prompts()));
    checked(check_traffic(&model(ort, 1), &prompts()));
}

/// Every token of a few texts from a combination, with every filter and a processor.
fn texts<B: Backend>(backend: B) -> Vec<Vec<TokenId>> {
    let [large, tuned, small] = [1, 2, 3].map(|seed| model(backend.clone(), seed));
    let upscaled = &large + 0.7 * (&tuned - &small);
    let filtered = Sampling::default().temperature(0.8).top_k(40).top_p(0.9).min_p(0.01);
    let settings = [Sampling::greedy(), Sampling::default().seed(3), filtered.seed(4), filtered.seed(5)];
    let generate = |sampling: Sampling| {
        let penalty = RepetitionPenalty::new(1.2).unwrap();
        let decoding = Decoding::from(sampling).processor(penalty).max_tokens(40);
        upscaled.generate([1, 2], decoding).unwrap().map(|token| token.unwrap().id).collect()
    };
    settings.into_iter().map(generate).collect()
}

#[test]
fn seeds_give_the_text_of_the_host() {
    assert_eq!(texts(Ort::cpu().unwrap()), texts(Host));
}
