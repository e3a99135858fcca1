//! Requests that join a running batch.
use std::collections::BTreeMap;

use eft_core::decode::{Batch, Event, FinishReason, Request, TextEvent};
use eft_core::sample::{LogitBias, RepetitionPenalty, TopA};
use eft_core::{
    Decoding, EngineSpec, Error, FnEngine, Host, Prompt, Result, Sampling, Source, TokenId, combine, from_fn,
};
use proptest::prelude::*;

use crate::common::*;

/// What is known of a row's text: its tokens, each with its log-probability and the number of alternatives, and how it
/// ended.
type Text = (Vec<(TokenId, f32, usize)>, Option<FinishReason>);

/// Runs a batch. `joins` has the requests that join after each number of events. Returns the text of each row.
fn run(mut batch: Batch<Host>, joins: &[(usize, Request)]) -> BTreeMap<usize, Text> {
    let mut texts: BTreeMap<usize, Text> = BTreeMap::new();
    let mut joins: Vec<_> = joins.to_vec();
    joins.sort_by_key(|(after, _)| *after);
    let (mut joins, mut events) = (joins.into_iter().peekable(), 0);
    loop {
        while let Some((_, request)) = joins.next_if(|(after, _)| *after <= events) {
            batch.join([request]).unwrap();
        }
        match batch.next() {
            Some(Ok(Event::Token { row, token })) => {
                let text = texts.entry(row).or_default();
                text.0.push((token.id, token.log_prob, token.alternatives.len()));
            }
            Some(Ok(Event::Finished { row, finished })) => {
                texts.entry(row).or_default().1 = Some(finished.reason);
            }
            Some(Ok(Event::Failed { row, .. })) => assert!(texts.insert(row, Default::default()).is_none()),
            Some(Err(error)) => panic!("{error}"),
            // All rows have ended; the next request joins a batch without any.
            None if joins.peek().is_none() => return texts,
            None => {}
        }
        events += 1;
    }
}

/// Requests differ in how their tokens are drawn.
fn request(index: usize, prompt: &[TokenId], samples: usize) -> Request {
    let request = Request::new(prompt).id(100 + index as u64).max_tokens(2 + index % 5).samples(samples);
    let sampling = Sampling::default().seed(index as u64);
    match index % 5 {
        0 => request.seed(3),
        1 => request.sampling(Sampling::greedy()).alternatives(3),
        2 => request.sampling(sampling.temperature(1.5)).truncation(TopA::new(0.1).unwrap()),
        3 => request.sampling(sampling.top_p(0.8)).processor(LogitBias::new([(2, 3.0)]).unwrap()),
        _ => request.sampling(sampling).truncation(TopA::new(0.2).unwrap()).alternatives(0),
    }
}

/// The ways in which a batch can be generated whose texts do not depend on measured times, and in which prompts can be read.
fn batch(way: usize, cache: usize, requests: Vec<Request>) -> Batch<Host> {
    let (a, b, c) = (model("a", 1), model("b", 2), model("c", 3));
    let source = match way % 3 {
        0 => &a + 0.5 * (&b - &c),
        1 => combine::mixture([(0.4, &a), (0.6, &b)]).unwrap(),
        _ => Source::opaque(&a + &b),
    };
    let sampling = if way.is_multiple_of(2) {
        Sampling::default().temperature(0.8).top_k(7)
    } else {
        Sampling::greedy()
    };
    let penalty = RepetitionPenalty::new(1.3).unwrap();
    // An opaque source has no term of this name.
    let penalty = if way % 3 == 2 { penalty } else { penalty.with_prompt_of("a") };
    let decoding = Decoding::from(sampling).alternatives(2).processor(penalty);
    let decoding = match cache {
        0 => decoding,
        1 => decoding.prefill(2),
        _ => decoding.prefill(1).cached_tokens(20),
    };
    match way / 3 {
        0 => source.generate_batch(requests, decoding),
        1 => source.speculate().draft(&b).block(3).generate_batch(requests, decoding),
        2 => source.speculate().draft(&b).block(2).same_text().generate_batch(requests, decoding),
        _ => source.speculate().draft(&b).most_rows(2).same_text().generate_batch(requests, decoding),
    }
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn a_text_depends_neither_on_when_its_row_joined_nor_on_the_other_rows(
        way in 0usize..12,
        cache in 0usize..3,
        prompts in prop::collection::vec((prop::collection::vec(0u32..10, 0..5), 0usize..30, 1usize..3), 1..7),
    ) {
        let first = request(0, &[1, 2], 1);
        let mut requests = vec![first.clone()];
        requests.extend(prompts.iter().enumerate().map(|(i, (prompt, _, samples))| request(i + 1, prompt, *samples)));
        // Requests join in the order of their times, and so do their rows.
        let mut order: Vec<_> = (1..requests.len()).collect();
        order.sort_by_key(|index| prompts[index - 1].1);
        let joins: Vec<_> = order.iter().map(|i| (prompts[i - 1].1, requests[*i].clone())).collect();
        let got = run(batch(way, cache, vec![first]), &joins);

        let mut row = 0;
        for index in std::iter::once(0).chain(order) {
            let request = &requests[index];
            let expected = match &request.prompt {
                Prompt::Tokens(ids) if ids.is_empty() => {
                    BTreeMap::from_iter((0..request.samples).map(|sample| (sample, Text::default())))
                }
                _ => run(batch(way, 0, vec![request.clone()]), &[]),
            };
            for sample in 0..request.samples {
                let (got, expected) = (&got[&row], &expected[&sample]);
                let ids = |text: &Text| text.0.iter().map(|(id, _, alternatives)| (*id, *alternatives)).collect::<Vec<_>>();
                prop_assert_eq!((ids(got), &got.1), (ids(expected), &expected.1), "request {} in row {}", index, row);
                for ((_, a, _), (_, b, _)) in got.0.iter().zip(&expected.0) {
                    prop_assert!((a - b).abs() < 1e-5, "request {}: {} and {}", index, a, b);
                }
                row += 1;
            }
        }
        prop_assert_eq!(row, got.len());
    }
}

fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).max_tokens(4)
}

#[test]
fn a_prompt_that_is_refused_or_fails_ends_its_rows_alone() {
    // A prompt that begins with 9 is accepted, and the model then fails to read it.
    let spec = EngineSpec::new("fails", Host, vocab("fails")).context(6);
    let source = Source::new(FnEngine::new(spec, |row| match row.tokens[..] {
        [9, ..] => Err(Error::source("fails", "on purpose")),
        _ => Ok(logits(1, &row.tokens, WIDTH)),
    }));
    let mut batch = source.generate_batch([[1]], greedy().stop_ids([])).unwrap();
    batch.next().unwrap().unwrap();
    let rows = batch.join([vec![2], vec![], vec![9, 1], vec![1; 7], vec![3]]).unwrap();
    assert_eq!(rows, 1..6);
    let (mut failed, mut tokens) = (BTreeMap::new(), [1, 0, 0, 0, 0, 0]);
    for event in batch {
        match event.unwrap() {
            Event::Token { row, .. } => tokens[row] += 1,
            Event::Finished { .. } => {}
            Event::Failed { row, error } => drop(failed.insert(row, error)),
        }
    }
    assert_eq!(tokens, [4, 4, 0, 0, 0, 4]);
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    assert!(matches!(*failed[&2], Error::EmptyPrompt { row: 2, .. }), "{:?}", failed[&2]);
    assert!(matches!(*failed[&3], Error::Source { .. }), "{:?}", failed[&3]);
    assert!(matches!(*failed[&4], Error::ContextFull { row: 4, .. }), "{:?}", failed[&4]);
}

#[test]
fn a_wrong_setting_refuses_the_call_and_changes_nothing() {
    let mut batch = model("m", 1).generate_batch([[1]], greedy()).unwrap();
    let wrong = [Request::new([1]), Request::new([1]).samples(0)];
    assert!(matches!(batch.join(wrong), Err(Error::InvalidParameter { name: "samples", .. })));
    let wrong = [Request::new([1]).stop_ids([99])];
    assert!(matches!(batch.join(wrong), Err(Error::StopIdOutOfRange { id: 99, .. })));
    assert_eq!((batch.rows(), batch.waiting()), (1, 0));
    assert_eq!(batch.join(Vec::<Request>::new()).unwrap(), 1..1);
}

#[test]
fn a_batch_that_has_ended_goes_on() {
    let mut batch = model("m", 1).generate_batch([[1]], greedy().stop_ids([])).unwrap();
    assert_eq!(batch.by_ref().count(), 5);
    assert!(batch.next().is_none());
    assert_eq!((batch.running(), batch.waiting()), (0, 0));
    assert_eq!(batch.join([Request::new([2]), Request::new([3]).max_tokens(0)]).unwrap(), 1..3);
    assert_eq!((batch.running(), batch.waiting()), (0, 1));
    let rows: Vec<_> = batch.by_ref().map(|event| event.unwrap().row()).collect();
    assert_eq!(rows, [2, 1, 1, 1, 1, 1]);
    assert_eq!(batch.join([vec![]]).unwrap(), 3..4);
    assert!(matches!(batch.next(), Some(Ok(Event::Failed { row: 3, .. }))));
    assert!(batch.next().is_none());
}

#[test]
fn rows_that_wait_can_be_retired() {
    let mut batch = model("m", 1).generate_batch([[1]], greedy().stop_ids([])).unwrap();
    batch.join([Request::new([2]).samples(2), Request::new([3])]).unwrap();
    batch.retire(1).unwrap();
    batch.retire(3).unwrap();
    assert_eq!(batch.waiting(), 1);
    let mut counts = [0; 4];
    batch.for_each(|event| counts[event.unwrap().row()] += 1);
    assert_eq!(counts, [5, 0, 5, 0]);
}

#[test]
fn a_batch_that_failed_accepts_nothing() {
    let source = from_fn(Host, vocab("fails"), |tokens| match tokens.len() {
        1 => Ok(vec![0.0; WIDTH]),
        _ => Err(Error::source("fails", "on purpose")),
    });
    let mut batch = source.generate_batch([[1]], greedy()).unwrap();
    assert!(batch.by_ref().any(|event| event.is_err()));
    let refused = batch.join([[1]]);
    assert!(
        matches!(&refused, Err(Error::Poisoned { cause }) if cause.contains("on purpose")),
        "{refused:?}"
    );
}

#[test]
fn default_ids_go_on_counting() -> Result<()> {
    let source = model("m", 1);
    let decoding = Decoding::from(Sampling::default().seed(5)).max_tokens(6);
    let together = run(source.generate_batch([[1], [1], [1]], &decoding)?, &[]);
    let joined = run(source.generate_batch([[1]], &decoding)?, &[(2, [1].into()), (9, [1].into())]);
    assert_eq!(together, joined);
    Ok(())
}

#[test]
fn texts_join_with_their_stop_strings() -> Result<()> {
    let source = from_fn(Host, vocab("m"), |tokens| {
        Ok((0..WIDTH).map(|id| if id == tokens.len() % 10 { 9.0 } else { 0.0 }).collect())
    });
    let mut batch = source.generate_batch([[0]], greedy().max_tokens(6))?.text()?.until("f")?;
    let mut texts = BTreeMap::<usize, String>::new();
    let mut ends = Vec::new();
    batch.join([Request::new([0, 0]).until("de")])?;
    batch.join([Request::new([0, 0]).until("e").keep_stop(true), Request::new([0])])?;
    batch.retire(3)?;
    while let Some(event) = batch.next() {
        match event? {
            TextEvent::Piece { row, piece } => *texts.entry(row).or_default() += &piece.text,
            TextEvent::Finished { row, finished } => ends.push((row, finished.reason)),
            TextEvent::Failed { error, .. } => panic!("{error}"),
        }
        if texts.len() == 3 && batch.inner().rows() == 4 {
            batch.join([[0, 0, 0]])?;
        }
    }
    let texts: Vec<_> = texts.into_iter().collect();
    assert_eq!(texts, [(0, "bcde".into()), (1, "c".into()), (2, "cde".into()), (4, "de".into())]);
    ends.sort_by_key(|(row, _)| *row);
    assert_eq!(ends.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 1, 2, 4]);
    assert!(ends.iter().all(|(_, reason)| matches!(reason, FinishReason::StopString(_))), "{ends:?}");
    Ok(())
}

#[test]
fn ended_rows_leave_the_models() {
    let (source, counts) = counted("m", 1, &[]);
    let mut batch = source.generate_batch([[1]], greedy().stop_ids([])).unwrap();
    for round in 0..5 {
        batch.join([[2], [3]]).unwrap();
        batch.by_ref().for_each(drop);
        let rows = counts.rows.load(std::sync::atomic::Ordering::SeqCst);
        assert!(rows <= 3, "{rows} rows in round {round}");
    }
    assert_eq!(batch.rows(), 11);
}

/// The tokens that the model reads for a request that joins the batch.
fn read_for(batch: &mut Batch<Host>, counts: &Counts, prompt: &[TokenId]) -> usize {
    batch.by_ref().for_each(drop);
    batch.join([Request::new(prompt).max_tokens(1)]).unwrap();
    counts.take();
    batch.by_ref().for_each(drop);
    counts.take().1
}

#[test]
fn the_next_turn_of_a_chat_reads_only_what_is_new() {
    let (source, counts) = counted("m", 1, &[]);
    let decoding = greedy().stop_ids([]).cached_tokens(40);
    let mut batch = source.generate_batch([[1, 2, 3]], &decoding).unwrap();
    let mut text = vec![1, 2, 3];
    for event in batch.by_ref() {
        if let Event::Token { token, .. } = event.unwrap() {
            text.push(token.id);
        }
    }
    // Other requests come in between.
    assert_eq!(read_for(&mut batch, &counts, &[5, 6, 7]), 3);
    assert_eq!(read_for(&mut batch, &counts, &[5, 6, 8, 9]), 2);
    // The last token of the text has not been fed.
    assert_eq!(read_for(&mut batch, &counts, &[&text[..], &[4, 4]].concat()), 3);
    assert_eq!(read_for(&mut batch, &counts, &[5, 6, 8, 9]), 1, "its last token is read again");
}

/// A prompt that is read in pieces counts as one that is read at once.
#[test]
fn tokens_of_prompts_are_read_or_kept() {
    for prefill in [100, 2] {
        let (small, counts) = counted("small", 1, &["x"]);
        let source = model("m", 2) + small.adapter("x").unwrap();
        let decoding = greedy().max_tokens(1).cached_tokens(100).prefill(prefill);
        let mut batch = source.generate_batch([[1]], &decoding).unwrap();
        let reads = |batch: &Batch<Host>| (batch.prompt_reads().read, batch.prompt_reads().kept);
        assert_eq!(reads(&batch), (2, 0), "two models read one token");
        let before = counts.take().1;
        assert_eq!(read_for(&mut batch, &counts, &[2, 3, 4, 5, 6]), 5);
        assert_eq!((reads(&batch), before), ((2 * (1 + 5), 0), 1));
        assert_eq!(read_for(&mut batch, &counts, &[2, 3, 4, 7, 8, 9]), 3);
        assert_eq!(reads(&batch), (2 * (1 + 5 + 3), 2 * 3));
        assert_eq!(read_for(&mut batch, &counts, &[2, 3, 4, 7, 8, 9]), 1);
        assert_eq!(reads(&batch), (2 * (1 + 5 + 3 + 1), 2 * (3 + 5)));
    }
}

#[test]
fn rows_that_were_not_of_use_for_the_longest_time_are_forgotten_first() {
    let (source, counts) = counted("m", 1, &[]);
    // Rows of four tokens, of which two can be kept beside the row that ended last.
    let mut batch = source.generate_batch([[1, 1, 1, 1]], greedy().max_tokens(1).cached_tokens(8)).unwrap();
    let mut read = |prompt: &[TokenId]| read_for(&mut batch, &counts, prompt);
    assert_eq!(read(&[2, 2, 2, 2]), 4);
    assert_eq!(read(&[3, 3, 3, 3]), 4);
    assert_eq!(read(&[1, 1, 1, 5]), 1, "it is known, and used again");
    assert_eq!(read(&[4, 4, 4, 4]), 4);
    assert_eq!(read(&[1, 1, 1, 6]), 1);
    assert_eq!(read(&[2, 2, 2, 7]), 4, "it was forgotten");
}

#[test]
fn a_beginning_that_prompts_share_stays_known() {
    let (source, counts) = counted("m", 1, &[]);
    let mut batch =
        source.generate_batch([[1, 2, 3, 4, 5]], greedy().max_tokens(1).cached_tokens(20)).unwrap();
    let mut read = |prompt: &[TokenId]| read_for(&mut batch, &counts, prompt);
    assert_eq!(read(&[7, 7]), 2);
    assert_eq!(read(&[1, 2, 3, 6, 6]), 2);
    assert_eq!(read(&[1, 2, 3, 8, 8, 8]), 3);
    assert_eq!(read(&[1, 2, 3, 4, 5, 9]), 1, "the first prompt is still known as a whole");
}

/// The settings of a request have the effect that they have as the settings of a whole batch.
#[test]
fn settings_of_a_request_are_those_of_a_batch() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let sampling = [
        Sampling::greedy(),
        Sampling::default().temperature(1.3).top_p(0.9).seed(8),
        Sampling::default().top_k(4).min_p(0.1).seed(9),
    ];
    let own = |sampling: Sampling| {
        let request = Request::new([1, 2]).id(0).sampling(sampling).alternatives(2);
        request.processor(LogitBias::new([(2, 3.0)]).unwrap()).truncation(TopA::new(0.05).unwrap())
    };
    let of_batch = |sampling: Sampling| {
        let decoding = Decoding::from(sampling).alternatives(2).max_tokens(12).stop_ids([]);
        decoding.processor(LogitBias::new([(2, 3.0)]).unwrap()).truncation(TopA::new(0.05).unwrap())
    };
    let plain = Decoding::from(Sampling::default().seed(77)).max_tokens(12).stop_ids([]);
    let together = run(source.generate_batch(sampling.map(own), &plain).unwrap(), &[]);
    for (row, sampling) in sampling.into_iter().enumerate() {
        let request = Request::new([1, 2]).id(0);
        let alone = run(source.generate_batch([request], of_batch(sampling)).unwrap(), &[]);
        assert_eq!(together[&row], alone[&0], "{sampling:?}");
    }
}

#[test]
fn a_greedy_row_has_the_text_of_plain_decoding_beside_rows_that_are_sampled_by_rejection() {
    let (a, b) = (model("a", 1), model("b", 2));
    let source = &a + 0.3 * &b;
    let decoding = Decoding::from(Sampling::default()).max_tokens(20).stop_ids([]);
    for first in 0..8 {
        let greedy = Request::new([first, 3]).sampling(Sampling::greedy());
        let plain = run(source.generate_batch([greedy.clone()], &decoding).unwrap(), &[]);
        let drafted = source.speculate().draft(&b).block(3);
        let drafted = run(drafted.generate_batch([Request::new([5]), greedy], &decoding).unwrap(), &[]);
        let ids = |text: &Text| text.0.iter().map(|(id, ..)| *id).collect::<Vec<_>>();
        assert_eq!(ids(&drafted[&1]), ids(&plain[&0]));
    }
}
