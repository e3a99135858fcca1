//! Joint generation: every text is the one that its source writes alone, and the models read each distinct text once.
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod work;

use common::*;
use eft_core::decode::{Event, Finished, Joint, Request, TextEvent, Variant};
use eft_core::sample::{FrequencyPenalty, RepetitionPenalty};
use eft_core::{
    Decoding, EngineSpec, FnEngine, Host, PromptTransform, Result, Sampling, Source, TokenId, Vocab, combine,
    from_top,
};
use proptest::prelude::*;

/// The tokens of a text and how it ended, or why its prompt was refused.
type Outcome = Result<(Vec<TokenId>, Finished), String>;

/// Reads the events of a batch to their end.
fn outcomes(rows: usize, events: impl Iterator<Item = Result<Event>>) -> Result<Vec<Outcome>> {
    let mut texts = vec![Vec::new(); rows];
    let mut ends = vec![None; rows];
    for event in events {
        match event? {
            Event::Token { row, token } => texts[row].push(token.id),
            Event::Finished { row, finished } => ends[row] = Some(Ok(finished)),
            Event::Failed { row, error } => ends[row] = Some(Err(error.to_string())),
        }
    }
    let ends = ends.into_iter().map(|end| end.expect("every row ends"));
    Ok(texts.into_iter().zip(ends).map(|(text, end)| end.map(|end| (text, end))).collect())
}

/// What each variant writes by itself.
fn alone(variants: &[Variant<Host>], requests: &[Request]) -> Vec<Outcome> {
    let of_variant = |variant: &Variant<Host>| {
        let batch = variant.source.generate_batch(requests.iter().cloned(), &variant.decoding).unwrap();
        outcomes(batch.rows(), batch).unwrap()
    };
    variants.iter().flat_map(of_variant).collect()
}

/// What the variants write together.
fn together(variants: &[Variant<Host>], requests: &[Request]) -> (Vec<Outcome>, Joint<Host>) {
    let mut joint = Joint::open(variants.iter().cloned(), requests.iter().cloned()).unwrap();
    let rows = joint.rows();
    let outcomes = outcomes(rows, joint.by_ref()).unwrap();
    (outcomes, joint)
}

#[track_caller]
fn assert_same(variants: &[Variant<Host>], requests: &[Request]) {
    let (together, _) = together(variants, requests);
    let of_variant = together.len() / variants.len();
    for (row, (got, expected)) in together.iter().zip(alone(variants, requests)).enumerate() {
        let variant = &variants[row / of_variant];
        assert_eq!(*got, expected, "row {row}, {} under {:?}", variant.source, variant.decoding);
    }
}

/// Sources over three models: sums that cancel terms, a rule, a prompt of its own, and a black box.
fn sources() -> Vec<Source<Host>> {
    let large = model("large", 1);
    let (small, _) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let black_box = from_top(Host, vocab("top"), |tokens| {
        let mut top: Vec<_> = logits(9, tokens, WIDTH).into_iter().enumerate().collect();
        top.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(top[..5].iter().map(|(id, score)| (*id as TokenId, score.min(0.0) - 1.7)).collect())
    });
    let mut sources: Vec<_> =
        [0.0, 0.3, 0.6, 1.0, 1.0, 1.7].iter().map(|alpha| &large + *alpha * (&tuned - &small)).collect();
    sources.push(sources[2].clone());
    sources.push(combine::mixture([(0.4, &large), (0.6, &tuned)]).unwrap());
    sources.push(combine::nucleus_delta(&large, &tuned, &small, 1.0, 0.8).unwrap());
    sources.push(large.under(PromptTransform::prefix([7, 7])) - 0.5 * &small);
    sources.push(&black_box + 0.2 * &small);
    sources
}

fn decoding() -> impl Strategy<Value = Decoding> {
    let sampling =
        (prop::sample::select(vec![0.0, 0.3, 0.7, 1.0, 2.0]), 0..3_u64, prop::option::of(0.3..1.0_f32));
    let sampling = sampling
        .prop_map(|(temperature, seed, p)| Sampling::default().temperature(temperature).seed(seed).top_p(p));
    let stops = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(prop::collection::vec(0..WIDTH as TokenId, 1..3), 1..3)
    ];
    (sampling, 0..12_usize, stops, prop::bool::weighted(0.3), 0..3_u8).prop_map(
        |(sampling, tokens, stops, endless, penalty)| {
            let mut decoding = Decoding::from(sampling).max_tokens(tokens);
            for stop in stops {
                decoding = decoding.stop_sequence(stop);
            }
            if endless {
                decoding = decoding.stop_ids([]);
            }
            match penalty {
                0 => decoding.processor(FrequencyPenalty::new(0.7).unwrap()),
                1 => decoding.processor(RepetitionPenalty::new(1.3).unwrap().with_prompt_of("small")),
                _ => decoding,
            }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let prompt = prop::collection::vec(0..WIDTH as TokenId, 1..4);
    let settings =
        (prop::option::of(0..3_u64), prop::option::of(0..3_u64), prop::option::of(0..6_usize), 1..4_usize);
    (prompt, settings).prop_map(|(prompt, (id, seed, tokens, samples))| {
        let mut request = Request::new(prompt).samples(samples);
        (request.id, request.seed, request.max_tokens) = (id, seed, tokens);
        request
    })
}

/// Variants of any of the sources. A processor that asks for the prompt of the term `small` needs a source that has one.
fn variants() -> impl Strategy<Value = Vec<Variant<Host>>> {
    let sources = sources();
    // The first one's term cancels, so that it is not run and its prompt is not known; the mixture has no such term.
    let small = |index: usize| ![0, 7].contains(&index);
    prop::collection::vec((0..sources.len(), decoding()), 1..7).prop_map(move |chosen| {
        let chosen = chosen.into_iter().map(|(index, mut decoding)| {
            if !small(index) {
                decoding.processors.retain(|processor| processor.prompt_of().is_none());
            }
            Variant::new(sources[index].clone(), decoding)
        });
        chosen.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_text_is_the_one_that_its_source_writes_alone(
        variants in variants(),
        requests in prop::collection::vec(request(), 1..4),
    ) {
        assert_same(&variants, &requests);
    }
}

/// The models that a variant does not use may have fewer tokens, or a shorter context, than those that it uses.
#[test]
fn a_variant_is_not_limited_by_the_models_of_others() {
    let engine = |name: &str, seed, width: usize, context| {
        let letters = (0..width as u8).map(|i| vec![b'a' + i]);
        let vocab = Vocab::new(name, letters).unwrap();
        let spec = EngineSpec::new(name, Host, vocab).context(context);
        Source::new(FnEngine::new(spec, move |row| Ok(logits(seed, &row.tokens, width))))
    };
    let (large, small) = (engine("large", 1, 26, 30), engine("small", 2, 9, 12));
    let variants = [0.0, 0.5, 1.0].map(|weight| {
        let sampling = Sampling::default().temperature(2.0).seed(4);
        Variant::new(&large + weight * &small, Decoding::from(sampling).unlimited())
    });
    let requests = [Request::new([1, 2]), Request::new([3]).samples(2)];
    let (texts, _) = together(&variants, &requests);
    assert_same(&variants, &requests);
    let (tokens, _) = texts[0].as_ref().unwrap();
    assert!(tokens.len() > 12 && tokens.iter().any(|token| *token >= 9), "{tokens:?}");
}

/// Stop strings of requests end the texts of all variants.
#[test]
fn texts_are_read_as_text() {
    let (large, small) = (model("large", 1), model("small", 2));
    let variants: Vec<_> = [0.0, 0.4, 0.8, 3.0]
        .iter()
        .map(|alpha| Variant::new(&large + *alpha * &small, Decoding::default().stop_ids([]).max_tokens(20)))
        .collect();
    let requests =
        [Request::new([1]).until("b").until("ca"), Request::new([2]).samples(2), Request::new([3, 4])];
    let joint = Joint::open(variants.clone(), requests.clone()).unwrap();
    let texts = joint.text().unwrap().read();
    let expected = variants.iter().flat_map(|variant| {
        variant.source.generate_batch(requests.clone(), &variant.decoding).unwrap().text().unwrap().read()
    });
    let expected: Vec<_> = expected.map(Result::unwrap).collect();
    assert_eq!(texts.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    assert!(expected.iter().any(|text| text.len() < 20) && expected.iter().any(|text| text.len() == 20));
}

/// A row that a stop string has ended costs nothing more, and neither does one that was retired.
#[test]
fn retired_texts_leave() {
    let (large, small) = (model("large", 1), model("small", 2));
    let decoding = Decoding::from(Sampling::default()).stop_ids([]).max_tokens(9);
    let variants = [0.0, 0.5, 1.0].map(|alpha| Variant::new(&large + alpha * &small, &decoding));
    let requests = [Request::new([1]), Request::new([2])];
    let expected = alone(&variants, &requests);
    let mut joint = Joint::open(variants, requests).unwrap();
    let first: Vec<_> = joint.by_ref().take(6).map(Result::unwrap).collect();
    assert_eq!(joint.work().steps, 1);
    joint.retire(2).unwrap();
    joint.retire(2).unwrap();
    joint.retire(77).unwrap();
    let mut texts = vec![Vec::new(); 6];
    for event in first.into_iter().chain(joint.by_ref().map(Result::unwrap)) {
        match event {
            Event::Token { row, token } => texts[row].push(token.id),
            other => assert_ne!(other.row(), 2),
        }
    }
    for (row, (text, expected)) in texts.iter().zip(expected).enumerate() {
        let expected = expected.unwrap().0;
        assert_eq!(text[..], expected[..if row == 2 { 1 } else { 9 }]);
    }
    for row in 0..6 {
        joint.retire(row).unwrap();
    }
    assert!(joint.next().is_none());
}

#[test]
fn the_end_of_a_text_is_an_event_of_its_row() {
    let source = model("m", 1);
    let variants =
        [2, 0, 1].map(|tokens| Variant::new(source.clone(), Decoding::default().max_tokens(tokens)));
    let events = Joint::open(variants, [Request::new([1])]).unwrap().text().unwrap();
    let ends = events.filter_map(|event| match event.unwrap() {
        TextEvent::Finished { row, .. } => Some(row),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [1, 2, 0]);
}
