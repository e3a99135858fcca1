//! Generation: the ends of texts, batches, and conversations. The modules test requests, sampling, and the statistics
//! reported for each token.
mod failing_rows;
mod forced;
mod mirostat;
mod reported;
mod requests;
mod sampling;

use crate::common::*;
use eft_core::decode::{Batch, Event, FinishReason, Finished, Generation};
use eft_core::sample::{
    AllowedTokens, FrequencyPenalty, History, LogitBias, PresencePenalty, Processor, Purpose,
    RepetitionPenalty, Uniforms,
};
use eft_core::{
    Decoding, Evaluator, Filter, Form, Host, LogitSource, PromptTransform, RowFeed, Sampler, Sampling,
    Session, Source, Token, TokenId, bridge, combine, from_fn, from_top,
};
use proptest::prelude::*;

/// A model that recites a fixed text.
fn recite(text: &'static [TokenId]) -> Source<Host> {
    from_fn(Host, vocab("recite"), move |tokens| {
        let next = text.get(tokens.len() - 1).copied().unwrap_or(0);
        Ok((0..WIDTH as TokenId).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    })
}

fn run(mut generation: Generation<Host>) -> (Vec<TokenId>, Finished) {
    let ids = generation.by_ref().map(|t| t.unwrap().id).collect();
    (ids, generation.finished().unwrap().clone())
}

fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).max_tokens(8)
}

#[test]
fn what_ends_a_text() {
    let model = recite(&[1, 2, 1, 2, 3, 4, 10, 5]);
    let ids = |f: &Finished| f.tail.iter().map(|t| t.id).collect::<Vec<_>>();
    let (text, end) = run(model.generate([0], greedy()).unwrap());
    assert_eq!(
        (&text[..], end.reason.clone(), ids(&end)),
        (&[1, 2, 1, 2, 3, 4][..], FinishReason::EndOfSequence(10), vec![10])
    );

    let (text, end) = run(model.generate([0], greedy().stop_ids([4])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3][..], FinishReason::EndOfSequence(4)));

    let (text, end) = run(model.generate([0], greedy().stop_ids([])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4, 10, 5][..], FinishReason::MaxTokens));

    let (text, end) = run(model.generate([0], greedy().max_tokens(0)).unwrap());
    assert_eq!((&text[..], end.reason), (&[][..], FinishReason::MaxTokens));

    // A stop sequence whose beginning occurs once before the whole of it does.
    let stop = greedy().stop_sequence([9, 9]).stop_sequence([1, 2, 3]);
    let (text, end) = run(model.generate([0], stop).unwrap());
    assert_eq!(
        (&text[..], end.reason.clone(), ids(&end)),
        (&[1, 2][..], FinishReason::StopSequence(1), vec![1, 2, 3])
    );

    // Tokens that were held back for a stop sequence that did not come are not lost.
    let (text, end) = run(model.generate([0], greedy().stop_sequence([2, 3, 4, 5]).max_tokens(6)).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4][..], FinishReason::MaxTokens));
    let (text, end) = run(model.generate([0], greedy().stop_sequence([4, 9])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4][..], FinishReason::EndOfSequence(10)));
}

proptest! {
    #[test]
    fn stop_sequences_cut_where_they_first_end(
        text in prop::collection::vec(0u32..3, 1..20),
        stops in prop::collection::vec(prop::collection::vec(0u32..3, 1..4), 1..4),
    ) {
        let said = text.clone();
        let model = from_fn(Host, vocab("recite"), move |tokens| {
            let next = said.get(tokens.len() - 1).copied().unwrap_or(10);
            Ok((0..WIDTH as TokenId).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
        });
        let mut decoding = greedy().max_tokens(text.len());
        for stop in &stops {
            decoding = decoding.stop_sequence(stop.clone());
        }
        let (got, end) = run(model.generate([0], decoding).unwrap());
        let cut = (1..=text.len()).find_map(|n| {
            let index = stops.iter().position(|s| text[..n].ends_with(s))?;
            Some((text[..n - stops[index].len()].to_vec(), FinishReason::StopSequence(index)))
        });
        let (expected, reason) = cut.unwrap_or((text.clone(), FinishReason::MaxTokens));
        prop_assert_eq!(got, expected);
        prop_assert_eq!(end.reason, reason);
    }
}

#[test]
fn dropping_a_generation_runs_nothing_more() {
    let (source, counts) = counted("m", 1, &[]);
    let mut generation = source.generate([1, 2], Decoding::default().stop_ids([])).unwrap();
    generation.next().unwrap().unwrap();
    generation.next().unwrap().unwrap();
    drop(generation);
    assert_eq!(counts.take(), (2, 3));
}

#[test]
fn retiring_a_row_does_not_revive_a_batch_that_failed() {
    let source = from_fn(Host, vocab("fails"), |tokens| match tokens {
        [1, _, _, ..] => Err(eft_core::Error::source("fails", "on purpose")),
        _ => Ok(vec![0.0; WIDTH]),
    });
    let mut batch = source.generate_batch([[1], [2]], greedy()).unwrap();
    let events: Vec<_> = batch.by_ref().collect();
    assert!(events.len() == 5 && events[4].is_err(), "two tokens a row, then the error: {events:?}");
    batch.retire(0).unwrap();
    assert!(batch.next().is_none());
}

#[test]
fn finished_rows_leave_the_batch() {
    let spec = eft_core::EngineSpec::new("recite", Host, vocab("recite"));
    let counts = std::sync::Arc::new(Counts::default());
    // The first token of a row is the number of tokens after which it ends.
    let inner = eft_core::FnEngine::new(spec, |row| {
        let next = if row.tokens.len() > row.tokens[0] as usize { 10 } else { 1 };
        Ok((0..WIDTH).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    });
    let source = Source::new(Counting { inner, counts: counts.clone() });
    let batch = source.generate_batch([[2], [5], [3]], greedy()).unwrap();
    let mut ends = Vec::new();
    for event in batch {
        if let Event::Finished { row, finished } = event.unwrap() {
            assert_eq!(finished.reason, FinishReason::EndOfSequence(10));
            ends.push(row);
        }
    }
    assert_eq!(ends, [0, 2, 1]);
    // Three prompts; then 3 rows twice, 2, and 1 twice.
    assert_eq!(counts.take(), (6, 3 + 3 + 3 + 2 + 1 + 1));
}

#[test]
fn conversations_feed_only_what_is_new() {
    let (large, large_counts) = counted("large", 1, &[]);
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let sum = &large + (small.adapter("tuned").unwrap() - &small);
    let first = [1, 2, 3, 4, 5];
    let mut generation = sum.generate(first, greedy().stop_ids([]).max_tokens(3)).unwrap();
    let reply: Vec<_> = generation.by_ref().map(|t| t.unwrap().id).collect();
    assert_eq!((large_counts.take(), small_counts.take()), ((3, 7), (3, 14)));

    let mut evaluator = generation.into_evaluator();
    let next = [&first[..], &reply, &[7, 8]].concat();
    evaluator.reopen(&[next.clone().into()]).unwrap();
    // The last token of the reply has not been fed yet: it and two more are, in one pass.
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 3), (1, 6)));
    let mut generation = Batch::over(evaluator, greedy().stop_ids([]).max_tokens(3)).unwrap();
    let resumed: Vec<_> = generation.by_ref().filter_map(|e| token(e.unwrap())).collect();
    let fresh: Vec<_> = sum
        .generate(next.clone(), greedy().stop_ids([]).max_tokens(3))
        .unwrap()
        .map(|t| t.unwrap())
        .collect();
    assert_eq!(resumed, fresh);
    large_counts.take();

    // Back into the prompt, and forked: both rows share four tokens with what the models have read.
    let mut evaluator = generation.into_evaluator();
    evaluator.reopen(&[[1, 2, 3, 4, 9].into(), [1, 2, 3, 4].into()]).unwrap();
    assert_eq!(large_counts.take(), (1, 1 + 1));
    let scores = evaluator.eval_last(0).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&sum, &[1, 2, 3, 4, 9], &[]));
    assert_eq!(values(&scores)[1], scores_after(&sum, &[1, 2, 3, 4], &[]));
    // A prompt that cannot be opened leaves the evaluator as it was.
    assert!(evaluator.reopen(&[[99].into()]).is_err());
    evaluator.push(&[vec![1], vec![2]]).unwrap();
    assert_eq!(values(&evaluator.eval_last(0).unwrap())[1], scores_after(&sum, &[1, 2, 3, 4], &[2]));
}

fn token(event: Event) -> Option<Token> {
    match event {
        Event::Token { token, .. } => Some(token),
        Event::Finished { .. } | Event::Failed { .. } => None,
    }
}

#[test]
fn an_interrupted_text_goes_on_as_if_it_had_not_been() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let decoding = |sampling, tokens| {
        let penalty = FrequencyPenalty::new(0.7).unwrap();
        Decoding::from(sampling).stop_ids([]).max_tokens(tokens).processor(penalty)
    };
    for sampling in [Sampling::greedy(), Sampling::default().seed(4)] {
        let all: Vec<_> =
            source.generate([1, 2], decoding(sampling, 12)).unwrap().map(|t| t.unwrap()).collect();
        // Whether the limit ended it or the iterator was dropped, the evaluator holds the whole text.
        for limit in [5, 50] {
            let mut first = source.generate([1, 2], decoding(sampling, limit)).unwrap();
            let mut text: Vec<_> = first.by_ref().take(5).map(|t| t.unwrap()).collect();
            let rest = Batch::over(first.into_evaluator(), decoding(sampling, 7)).unwrap();
            text.extend(rest.filter_map(|e| token(e.unwrap())));
            assert_eq!(text, all);
        }
    }
}

#[test]
fn sessions_return_their_scores_again_after_a_rollback() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let (mut session, opened) = source.session(&[[1, 2].into(), [3].into()]).unwrap();
    session.extend(&[RowFeed::all(vec![4, 5]), RowFeed::none()]).unwrap();
    session.rollback(&[2, 0]).unwrap();
    assert_eq!(values(&session.current().unwrap()), values(&opened));
    let scores = session.extend(&[RowFeed::one(6), RowFeed::one(7)]).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&source, &[1, 2], &[6]));
}

#[test]
fn single_models_render_and_vocabularies_decode() {
    let source = model("m", 1);
    let hinted = source.under(PromptTransform::prefix([7]));
    assert_eq!(hinted.render([1, 2]).unwrap(), [7, 1, 2]);
    assert_eq!(source.vocab().decode(&[1, 2, 10]), b"bc");
    assert!((&source + &hinted).render([1]).is_err() && source.render("text").is_err());
    let (adapted, _) = counted("small", 1, &["x"]);
    assert_eq!(
        adapted.under(PromptTransform::prefix([7])).adapter("x").unwrap().render([1]).unwrap(),
        [7, 1]
    );
}

#[test]
fn a_full_context_ends_a_text_and_does_not_fail() {
    let source = short_model("short", 1, 4);
    let decoding = |tokens| Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
    // A prompt of two tokens, two more that are fed, and one for which there is no room.
    let (all, end) = run(source.generate([1, 2], decoding(9)).unwrap());
    assert_eq!((all.len(), end.reason), (3, FinishReason::ContextFull));
    let mut cut = source.generate([1, 2], decoding(3)).unwrap();
    assert_eq!(cut.by_ref().count(), 3);
    let mut rest = Batch::over(cut.into_evaluator(), decoding(9)).unwrap();
    let again = token(rest.next().unwrap().unwrap()).unwrap();
    assert_eq!((again.id, again.position), (all[2], 2), "the last token had no room, so it is drawn again");
    assert!(
        matches!(rest.next(), Some(Ok(Event::Finished { finished, .. })) if finished.reason == FinishReason::ContextFull)
    );
}
