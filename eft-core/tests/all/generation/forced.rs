//! Tokens that a processor forces: they save passes and change nothing.
use super::*;
use eft_core::Edit;
use eft_core::decode::{Generation, Request};

/// Forces the tokens at the positions 2 to 5 of every 7, or only allows no others.
#[derive(Clone, Copy)]
struct Pattern {
    forces: bool,
}

fn token_at(position: usize) -> Option<TokenId> {
    (2..6).contains(&(position % 7)).then_some((position * 3 % 10) as TokenId)
}

impl Processor for Pattern {
    fn edits(&self, history: &History<'_>) -> eft_core::Result<Vec<Edit>> {
        let only = token_at(history.generated.len());
        Ok(only
            .map(|token| Edit::Allow(std::sync::Arc::new([token].into_iter().collect())))
            .into_iter()
            .collect())
    }

    fn forced(&self, history: &History<'_>) -> eft_core::Result<Vec<TokenId>> {
        let from = history.generated.len();
        Ok(if self.forces { (from..).map_while(token_at).collect() } else { Vec::new() })
    }
}

fn events(source: &Source<Host>, requests: &[Request], decoding: Decoding) -> Vec<String> {
    let events = source.generate_batch(requests.to_vec(), decoding).unwrap();
    let mut events: Vec<_> = events.map(|event| format!("{:?}", event.unwrap())).collect();
    // Rows get on at different rates.
    events.sort();
    events
}

#[test]
fn forced_tokens_are_what_would_have_been_chosen() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let requests = [Request::new([1]), Request::new([2, 3]).samples(2), Request::new([4]).max_tokens(4)];
    for limit in 0..24 {
        for sampling in [Sampling::greedy(), Sampling::default().seed(3)] {
            for stops in [vec![], vec![3, 9], vec![6]] {
                let decoding = |forces| {
                    let decoding = Decoding::from(sampling).max_tokens(limit).stop_ids(stops.clone());
                    decoding
                        .stop_sequence([5, 8])
                        .alternatives(2)
                        .attribution(1)
                        .processor(Pattern { forces })
                };
                assert_eq!(
                    events(&source, &requests, decoding(true)),
                    events(&source, &requests, decoding(false)),
                    "{limit} {stops:?}"
                );
            }
        }
    }
    for context in 2..16 {
        let source = short_model("short", 1, context);
        let decoding = |forces| Decoding::from(Sampling::greedy()).stop_ids([]).processor(Pattern { forces });
        let request = [Request::new([1])];
        assert_eq!(
            events(&source, &request, decoding(true)),
            events(&source, &request, decoding(false)),
            "{context}"
        );
    }
}

#[test]
fn forced_tokens_are_read_in_one_pass() {
    let (source, counts) = counted("a", 1, &[]);
    let decoding =
        |forces| Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(21).processor(Pattern { forces });
    assert_eq!(source.generate([1], decoding(false)).unwrap().count(), 21);
    assert_eq!(counts.take(), (21, 21));
    assert_eq!(source.generate([1], decoding(true)).unwrap().count(), 21);
    // Of every 7 tokens, 4 are forced. Every token but the last is still read once.
    assert_eq!(counts.take(), (21 - 12, 21));
}

#[test]
fn forced_tokens_are_not_drafted() {
    let (target, draft) = (model("a", 1), model("b", 2));
    for sampling in [Sampling::greedy(), Sampling::default().seed(3)] {
        let decoding = |forces| {
            Decoding::from(sampling).stop_ids([]).max_tokens(21).alternatives(1).processor(Pattern { forces })
        };
        let tokens = |text: &mut Generation<Host>| text.map(|token| token.unwrap().id).collect::<Vec<_>>();
        let plain = tokens(&mut target.generate([1], decoding(false)).unwrap());
        let mut drafted =
            target.speculate().draft(&draft).block(2).same_text().generate([1], decoding(true)).unwrap();
        assert_eq!(tokens(&mut drafted), plain);
        // No block of three tokens passes over the four that are forced together.
        assert_eq!(drafted.report().unwrap().plain_steps, 3);
    }
}

#[test]
fn interrupted_texts_go_on_as_they_would_have() {
    let source = model("a", 1);
    let decoding = |tokens| {
        let sampled = Decoding::from(Sampling::default().seed(5)).stop_ids([]);
        sampled.max_tokens(tokens).processor(Pattern { forces: true })
    };
    let whole = run(source.generate([1], decoding(20)).unwrap()).0;
    for first in 1..19 {
        let mut begun = source.generate([1], decoding(first)).unwrap();
        let mut text: Vec<_> = begun.by_ref().map(|token| token.unwrap().id).collect();
        let rest = Batch::over(begun.into_evaluator(), decoding(20 - first)).unwrap();
        text.extend(rest.filter_map(|event| match event.unwrap() {
            Event::Token { token, .. } => Some(token.id),
            _ => None,
        }));
        assert_eq!(text, whole, "{first}");
    }
}

/// Forces a token that its edits do not demand.
struct Contradictory;

impl Processor for Contradictory {
    fn edits(&self, _: &History<'_>) -> eft_core::Result<Vec<Edit>> {
        Ok(vec![Edit::Bias(vec![(1, f32::NEG_INFINITY)])])
    }

    fn forced(&self, _: &History<'_>) -> eft_core::Result<Vec<TokenId>> {
        Ok(vec![1, 1])
    }
}

#[test]
fn a_processor_that_contradicts_itself_is_an_error() {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(8).processor(Contradictory);
    let mut generation = model("a", 1).generate([1], decoding).unwrap();
    let error = generation.next().unwrap().unwrap_err();
    assert!(eft_core::error::with_sources(&error).to_string().contains("forces the token 1"), "{error}");
}
