//! Speculative decoding gives what plain decoding gives: the same tokens when greedy, the same distribution when
//! sampling.
pub(crate) mod distribution;
mod lookup;
mod passes;
// For its unit tests: the library itself is compiled without its tests (`test = false` in Cargo.toml).
#[allow(dead_code, reason = "only its tests are needed here")]
#[path = "../../../src/speculate/scheduler/mod.rs"]
mod scheduler;

use crate::common::*;
use eft_core::decode::{Batch, Event};
use eft_core::sample::{FrequencyPenalty, RepetitionPenalty};
use eft_core::speculate::Speculative;
use eft_core::{
    Decoding, Error, Host, PromptTransform, Result, Sampling, Source, TokenId, combine, from_fn, from_top,
};
use proptest::prelude::*;

/// Targets of every kind, each with a draft.
fn combinations(seed: u64) -> Vec<(Source<Host>, Source<Host>)> {
    let (large, other) = (model("large", seed), model("other", seed ^ 9));
    let (small, _) = counted("small", seed ^ 2, &["tuned", "stern"]);
    let (tuned, stern) = (small.adapter("tuned").unwrap(), small.adapter("stern").unwrap());
    // A draft close enough to its target that some tokens are accepted; others are nothing like it.
    let near = (&large + 0.2 * &other).named("near");
    let upscaled = &large + 0.3 * (&other - &small);
    let mixture = combine::mixture([(0.7, &large), (0.3, &tuned)]).unwrap();
    let careful = combine::nucleus_delta(&large, &tuned, &small, 0.3, 0.8).unwrap();
    let hinted = 1.3 * &large - 0.3 * &large.under(PromptTransform::prefix([7, 7]));
    let known = model("known", seed);
    let few = from_top(Host, vocab("few"), move |ids| {
        let row = scores_after(&known, ids, &[]);
        Ok(eft_core::conformance::reference::top(&row, 4).into_iter().map(|(id, p)| (id, p as f32)).collect())
    });
    vec![
        (upscaled.clone(), other.clone()),
        (upscaled.clone(), large.clone()),
        (upscaled.clone(), near.clone()),
        (&large + 0.2 * (&tuned - &stern), tuned.clone()),
        (large.clone(), near.clone()),
        (large.clone(), -1.0 * &large),
        (mixture, large.clone()),
        (careful, near.clone()),
        (hinted, large.clone()),
        (&few + 0.3 * (&tuned - &small), large.clone()),
        (near, few),
    ]
}

/// All events of a batch, an error as its message.
fn events(batch: Result<Batch<Host>>) -> Vec<std::result::Result<Event, String>> {
    batch.unwrap().map(|event| event.map_err(|e| e.to_string())).collect()
}

/// The events of each row, which come in another order where rows accept different lengths.
fn by_row(events: Vec<std::result::Result<Event, String>>, rows: usize) -> Vec<Vec<Event>> {
    let mut of_row = vec![Vec::new(); rows];
    for event in events {
        let event = event.unwrap();
        of_row[event.row()].push(event);
    }
    of_row
}

/// The drafted texts are those of plain decoding, together and alone.
fn assert_same_texts(
    target: &Source<Host>,
    speculative: &Speculative<Host>,
    prompts: &[Vec<TokenId>],
    decoding: &Decoding,
) {
    let rows = prompts.len();
    let plain = by_row(events(target.generate_batch(prompts.to_vec(), decoding)), rows);
    let together = by_row(events(speculative.generate_batch(prompts.to_vec(), decoding)), rows);
    for (got, expected) in together.iter().zip(&plain) {
        assert_same(got, expected);
    }
    // Alone, the first row draws the same random numbers.
    let alone = events(speculative.generate_batch(prompts[..1].to_vec(), decoding));
    assert_same(&by_row(alone, 1)[0], &plain[0]);
}

/// The same tokens, with the same reported numbers up to rounding.
#[track_caller]
fn assert_same(got: &[Event], expected: &[Event]) {
    assert_eq!(got.len(), expected.len(), "{got:?}\n{expected:?}");
    for (got, expected) in got.iter().zip(expected) {
        match (got, expected) {
            (Event::Token { token: a, .. }, Event::Token { token: b, .. }) => {
                assert_eq!((a.id, a.position), (b.id, b.position));
                assert_near(
                    &[a.log_prob, a.processed_log_prob, a.known_mass.unwrap_or(1.0)],
                    &[b.log_prob, b.processed_log_prob, b.known_mass.unwrap_or(1.0)],
                    1e-4,
                );
                let alternatives =
                    |t: &eft_core::Token| t.alternatives.iter().map(|p| p.token).collect::<Vec<_>>();
                assert_eq!(alternatives(a), alternatives(b));
                match (&a.attribution, &b.attribution) {
                    (None, None) => {}
                    (Some(a), Some(b)) => {
                        assert_eq!((&a.rivals, a.terms.len()), (&b.rivals, b.terms.len()));
                        for (a, b) in a.terms.iter().zip(&b.terms) {
                            assert_eq!((&a.name, a.weight), (&b.name, b.weight));
                            assert_near(&a.shares, &b.shares, 1e-3);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            (Event::Finished { finished: a, .. }, Event::Finished { finished: b, .. }) => {
                assert_eq!(a.reason, b.reason);
                let ids = |f: &eft_core::decode::Finished| f.tail.iter().map(|t| t.id).collect::<Vec<_>>();
                assert_eq!(ids(a), ids(b));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn settings() -> impl Strategy<Value = Decoding> {
    let sampling = prop_oneof![
        Just(Sampling::greedy()),
        (0.3f32..1.5, prop::option::of(1usize..8), prop::option::of(0.3f32..1.0), any::<u64>()).prop_map(
            |(temperature, top_k, top_p, seed)| {
                Sampling::default().temperature(temperature).top_k(top_k).top_p(top_p).seed(seed)
            }
        ),
    ];
    (
        sampling,
        0usize..14,
        prop::option::of(prop::collection::vec(0..WIDTH as TokenId, 0..3)),
        prop::collection::vec(prop::collection::vec(0..WIDTH as TokenId, 1..3), 0..3),
        (0usize..3, prop::option::of(0usize..3)),
        0usize..4,
    )
        .prop_map(|(sampling, max, stop_ids, sequences, (alternatives, rivals), processors)| {
            let mut decoding = Decoding::from(sampling).max_tokens(max).alternatives(alternatives);
            decoding.stop_ids = stop_ids;
            decoding.stop_sequences = sequences;
            decoding.rivals = rivals;
            if processors & 1 != 0 {
                decoding = decoding.processor(RepetitionPenalty::new(1.4).unwrap());
            }
            if processors & 2 != 0 {
                decoding = decoding.processor(FrequencyPenalty::new(0.6).unwrap());
            }
            decoding
        })
}

fn speculative(target: &Source<Host>, draft: &Source<Host>, block: Option<usize>) -> Speculative<Host> {
    let speculative = target.speculate().draft(draft).same_text();
    match block {
        Some(tokens) => speculative.block(tokens),
        None => speculative,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Greedy texts, and sampled ones under `same_text`: with all statistics reported for their tokens, however they
    /// end, in batches and alone.
    #[test]
    fn texts_are_those_of_plain_decoding(
        seed in 0u64..50,
        which in 0usize..11,
        decoding in settings(),
        prompts in prop::collection::vec(prop::collection::vec(0..WIDTH as TokenId - 1, 1..4), 1..4),
        block in prop::option::of(0usize..6),
    ) {
        let (target, draft) = &combinations(seed)[which];
        assert_same_texts(target, &speculative(target, draft, block), &prompts, &decoding);
    }

    #[test]
    fn an_interrupted_text_goes_on_as_if_it_had_not_been(seed in 0u64..50, cut in 1usize..7, block in 1usize..5) {
        let (target, draft) = &combinations(seed)[2];
        let decoding = |tokens| Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
        let all: Vec<_> = target.generate([1, 2], decoding(12)).unwrap().map(|t| t.unwrap().id).collect();
        let speculative = target.speculate().draft(draft).block(block);
        let mut first = speculative.generate([1, 2], decoding(cut)).unwrap();
        let mut text: Vec<_> = first.by_ref().map(|t| t.unwrap().id).collect();
        let rest = speculative.over(first.into_evaluator(), decoding(12 - cut)).unwrap();
        text.extend(rest.filter_map(|event| match event.unwrap() {
            Event::Token { token, .. } => Some(token.id),
            Event::Finished { .. } | Event::Failed { .. } => None,
        }));
        prop_assert_eq!(text, all);
    }

    #[test]
    fn full_contexts_end_texts_where_they_do_without_a_draft(
        prompt in 1usize..5, target_context in 6usize..12, draft_context in 5usize..12, block in 1usize..5,
        of_target: bool,
    ) {
        let (large, short) =
            (short_model("large", 1, target_context), short_model("short", 1, draft_context));
        let target = if of_target { &large + 0.2 * &short } else { large };
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]);
        let prompt = vec![vec![1; prompt], vec![2]];
        let plain = by_row(events(target.generate_batch(prompt.clone(), &decoding)), 2);
        let drafted = target.speculate().draft(&short).block(block).generate_batch(prompt, &decoding);
        for (got, expected) in by_row(events(drafted), 2).iter().zip(&plain) {
            assert_same(got, expected);
        }
    }
}
