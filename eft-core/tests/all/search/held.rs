//! The rows that the models hold, the passes that they run, and the texts that the search keeps.
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use eft_core::conformance::{TrafficCounter, count_traffic};
use eft_core::decode::FinishReason;
use eft_core::search::{ChunkBeamSearch, Continuation, ImplicitReward};
use eft_core::{Decoding, EngineSpec, FnEngine, Host, Prompt, Sampling, Source, TokenId};

use super::texts;
use crate::common::*;

#[test]
fn models_hold_only_the_rows_of_open_texts() {
    let held = Arc::new(Counts::default());
    let holding = |name: &str, seed: u64| {
        let inner = FnEngine::new(EngineSpec::new(name, Host, vocab(name)), move |row| {
            let mut scores = logits(seed, &row.tokens, WIDTH);
            // Texts end soon: the larger the last token, the likelier the end.
            scores[WIDTH - 1] += row.tokens[row.tokens.len() - 1] as f32 / 4.0;
            Ok(scores)
        });
        Source::new(Counting { inner, counts: held.clone() })
    };
    let (large, tuned, untuned) = (holding("large", 1), model("tuned", 2), model("untuned", 3));
    let mut open = Vec::new();
    let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(2).max_tokens(40);
    search
        .run_watched([1], |progress| {
            open.push(progress.beam.iter().filter(|c| c.continuation.end.is_none()).count());
            // Rows whose text ended within the chunk have left. At most the successors of the open texts remain.
            let before = open.iter().rev().nth(1).map_or(16, |open| 4 * open);
            assert!(held.rows.load(Ordering::SeqCst) <= before);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(open.len() > 2 && open.iter().any(|open| (1..4).contains(open)), "{open:?}");
    assert_eq!(held.most_rows.load(Ordering::SeqCst), 16);
}

#[test]
fn the_prompt_is_read_once_and_every_token_is_scored_once() {
    let (large, large_counts) = counted("large", 1, &[]);
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let decoding = Decoding::from(Sampling::default().seed(5)).stop_ids([]).max_tokens(6);
    let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &small));
    let result = search.width(2).successors(3).chunk(2).decoding(decoding).run([1, 2, 3]).unwrap();
    assert_eq!((result.drawn, result.rounds), (6 * 6, 3));
    // Three tokens of the prompt, and all sampled tokens except the last of each row, which is never read.
    let read = 3 + 6 * 5;
    assert_eq!(large_counts.take(), (1 + 5, read));
    // The tuned and the untuned model read the same tokens in the same passes.
    assert_eq!(small_counts.take().1, 2 * read);
}

#[test]
fn ended_texts_that_are_pushed_out_of_the_beam_are_still_candidates() {
    // Open texts first score higher than ended ones and push them out of the beam. Later their scores fall.
    let large = model("large", 1);
    let guide = |_: &Prompt, text: &Continuation| {
        let ended = text.end == Some(FinishReason::EndOfSequence(10));
        Ok(if ended { 5.0 } else { 10.0 - 2.0 * (text.tokens.len() as f64 - 4.0).max(0.0) })
    };
    let decoding = Decoding::from(Sampling::default().seed(1)).max_tokens(12);
    let result = ChunkBeamSearch::new(&large, guide)
        .width(2)
        .successors(8)
        .chunk(2)
        .decoding(decoding)
        .run([1])
        .unwrap();
    let (ended, cut): (Vec<_>, Vec<_>) =
        result.candidates.iter().partition(|c| c.continuation.end == Some(FinishReason::EndOfSequence(10)));
    assert!(!ended.is_empty());
    // Texts that reach the maximum length are candidates as they are, without an end-of-sequence token.
    assert!(cut.iter().all(|c| c.score == -6.0 && c.continuation.tail == 0), "{cut:?}");
    assert_eq!(result.best().score, 5.0);
    assert_eq!(result.best().continuation.body().len() + 1, result.best().continuation.tokens.len());
}

#[test]
fn duplicates_are_removed_and_ties_keep_the_order_of_rows() {
    let rows = Mutex::new(Vec::new());
    let guide = |_: &Prompt, _: &Continuation| Ok(0.0);
    let large = model("large", 1);
    let decoding = Decoding::from(Sampling::default().seed(2)).stop_ids([]).max_tokens(3);
    let search = ChunkBeamSearch::new(&large, guide).width(3).successors(4).chunk(1).decoding(&decoding);
    search
        .run_watched([1], |progress| {
            rows.lock().unwrap().push(progress.beam.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    let first = &rows.lock().unwrap()[0];
    let drawn = texts(&large, vec![vec![1]; 12], &decoding.max_tokens(1));
    let mut expected: Vec<Vec<TokenId>> = Vec::new();
    for (text, _) in drawn {
        if !expected.contains(&text) {
            expected.push(text);
        }
    }
    let got: Vec<_> = first.iter().map(|c| c.continuation.tokens.clone()).collect();
    assert_eq!(got, expected[..3]);
}

#[test]
fn budgets_and_watchers_end_a_search_and_no_score_row_crosses_to_the_host() {
    let counter = TrafficCounter::new(Host);
    let [large, tuned, untuned] = [("large", 1), ("tuned", 2), ("untuned", 3)]
        .map(|(name, seed)| count_traffic(model(name, seed), &counter));
    let decoding = Decoding::from(Sampling::default().top_p(0.9)).stop_ids([]).max_tokens(20);
    let search =
        || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(3).decoding(&decoding);
    for budget in [0, 15, 16, 100, 10_000] {
        let result = search().budget(budget).run([1]).unwrap();
        assert!(
            result.drawn <= budget && result.drawn + 16 > budget.min(16 * 20),
            "{} of {budget}",
            result.drawn
        );
        assert!(!result.candidates.is_empty());
    }
    let mut rounds = 0;
    let result = search().run_watched([1], |progress| {
        rounds = progress.rounds;
        if progress.rounds == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let result = result.unwrap();
    assert_eq!((rounds, result.rounds, result.drawn), (2, 2, 2 * 3 * 16));
    assert!(result.best().continuation.end.is_none());
    assert_eq!(counter.traffic().row_floats, 0);
}
