//! Greedy choices from the likeliest tokens: what is proven is what whole rows give.
use eft_backend_remote::{Kind, ProvenSum, Unproven};
use eft_core::conformance::{SourceTest, check_source};
use eft_core::{Decoding, Host, Sampling, Source};

use crate::fake::Fake;
use crate::toy::{WIDTH, local, vocab};

const KINDS: [Kind; 4] = [Kind::LlamaServer, Kind::Vllm, Kind::Sglang, Kind::OpenAi];

fn sum(fake: &Fake, k: usize, alpha: f32) -> ProvenSum<Host> {
    let engine = fake.remote().top(k).open().unwrap().engine(Host, vocab()).unwrap();
    ProvenSum::new(&engine, &Source::new(engine.clone()), &(alpha * (local(2) - local(3)))).unwrap()
}

#[test]
fn a_proven_sum_obeys_the_laws_of_sources() {
    for kind in KINDS {
        let fake = Fake::proper(kind);
        let source = sum(&fake, 4, 0.5).source();
        check_source(&source, &SourceTest::new([vec![1], vec![2, 3, 4]]))
            .unwrap_or_else(|failure| panic!("{kind}: {failure}"));
    }
}

#[test]
fn proven_tokens_are_those_of_whole_rows() {
    let mut widened = [0; 4];
    for (which, kind) in KINDS.into_iter().enumerate() {
        for (k, alpha) in [(1, 0.2), (2, 1.0), (5, 0.1), (5, 1.0), (12, 2.0)] {
            let fake = Fake::proper(kind);
            let sum = sum(&fake, k, alpha);
            let whole = local(1) + alpha * (local(2) - local(3));
            let decoding = Decoding::from(Sampling::greedy()).max_tokens(30).stop_ids([]);
            let mut prompt = vec![5];
            for token in sum.source().generate(prompt.clone(), &decoding).unwrap() {
                let token = token.unwrap();
                let right = whole.generate(prompt.clone(), &decoding).unwrap().next().unwrap().unwrap().id;
                if token.proven.unwrap() {
                    assert_eq!(token.id, right, "{kind}, top {k}, weight {alpha}");
                }
                assert!(token.known_mass.unwrap() > 0.0 && (0.0..=1.0).contains(&token.missed_mass.unwrap()));
                prompt.push(token.id);
            }
            let report = sum.report();
            assert!(report.positions() >= 30);
            // The second question of llama-server is for 8 times as many tokens, or for the whole row.
            if matches!(kind, Kind::Vllm | Kind::Sglang) || kind == Kind::LlamaServer && 8 * k >= WIDTH {
                assert_eq!(report.unproven, 0, "{kind}, top {k}, weight {alpha}");
            }
            widened[which] += report.widened;
        }
    }
    // The second question proves choices.
    assert!(widened.iter().all(|count| *count > 0), "{widened:?}");
}

#[test]
fn a_choice_that_stays_unproven_is_flagged_or_refused() {
    // This server cannot be asked by name or for whole rows, and is asked for few tokens.
    let fake = Fake::proper(Kind::OpenAi);
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(30).stop_ids([]);
    let lenient = sum(&fake, 1, 3.0);
    let tokens: Vec<_> = lenient.source().generate([5], &decoding).unwrap().map(Result::unwrap).collect();
    let flagged = tokens.iter().filter(|token| token.proven == Some(false)).count();
    assert!(flagged > 0 && lenient.report().unproven >= flagged as u64, "{:?}", lenient.report());

    let strict = sum(&fake, 1, 3.0).unproven(Unproven::Refuse);
    let error = match strict.source().generate([5], &decoding) {
        Ok(text) => text.filter_map(Result::err).next().unwrap(),
        Err(error) => error,
    };
    assert!(eft_core::error::with_sources(&error).contains("is not proven"), "{error}");
}

#[test]
fn a_drafted_proven_text_is_the_same() {
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang] {
        let fake = Fake::proper(kind);
        let sum = sum(&fake, 5, 0.5);
        let source = sum.source();
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(24).stop_ids([]);
        let plain: Vec<_> = source.generate([5], &decoding).unwrap().map(|token| token.unwrap().id).collect();
        let draft = local(1) + 0.5 * (local(2) - local(3));
        let fast = source.speculate().draft(&draft).block(4).generate([5], &decoding).unwrap();
        let fast: Vec<_> = fast.map(Result::unwrap).collect();
        assert_eq!(fast.iter().map(|token| token.id).collect::<Vec<_>>(), plain, "{kind}");
        assert!(fast.iter().all(|token| token.proven == Some(true)));
    }
}

#[test]
fn proofs_do_not_survive_processors_or_further_terms() {
    let fake = Fake::proper(Kind::Vllm);
    let source = sum(&fake, 5, 0.5).source();
    let first = |source: &Source<Host>, decoding: Decoding| {
        source.generate([5], decoding).unwrap().next().unwrap().unwrap()
    };
    let greedy = || Decoding::from(Sampling::greedy()).max_tokens(1).stop_ids([]);
    assert_eq!(first(&source, greedy()).proven, Some(true));
    assert_eq!(first(&(&source + local(4)), greedy()).proven, None);
    let penalised = greedy().processor(eft_core::sample::LogitBias::new([(3, 1.0)]).unwrap());
    assert_eq!(first(&source, penalised).proven, None);
    assert_eq!(first(&source, Decoding::from(Sampling::default()).max_tokens(1).stop_ids([])).proven, None);
}
