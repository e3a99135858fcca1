//! Chunk beam search: against direct implementations of its special cases and of itself, and what it holds and runs.
mod common;

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use common::*;
use eft_core::conformance::{TrafficCounter, count_traffic};
use eft_core::decode::{Event, FinishReason};
use eft_core::sample::{FrequencyPenalty, Purpose, Uniforms};
use eft_core::score::implicit_reward;
use eft_core::search::{
    BlackBox, Candidate, ChunkBeamSearch, Continuation, Found, Guide, ImplicitReward, Written,
};
use eft_core::{
    Decoding, EngineSpec, Error, FnEngine, Host, Prompt, Renderer, Result, Sampling, Source, TokenId, Vocab,
};
use proptest::prelude::*;

fn models() -> [Source<Host>; 3] {
    [model("large", 1), model("tuned", 2), model("untuned", 3)]
}

fn reward(tuned: &Source<Host>, untuned: &Source<Host>, prompt: &[TokenId], tokens: &[TokenId]) -> f64 {
    implicit_reward(tuned, untuned, prompt, tokens, 1.0).unwrap().total
}

/// Every text of a batch, with the tokens that ended it, and how it ended.
fn texts(
    base: &Source<Host>,
    prompts: Vec<Vec<TokenId>>,
    decoding: &Decoding,
) -> Vec<(Vec<TokenId>, FinishReason)> {
    let mut texts = vec![(Vec::new(), FinishReason::MaxTokens); prompts.len()];
    for event in base.generate_batch(prompts, decoding).unwrap() {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].0.push(token.id),
            Event::Finished { row, finished } => {
                texts[row].0.extend(finished.tail.iter().map(|t| t.id));
                texts[row].1 = finished.reason;
            }
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    texts
}

/// The search in the plainest words: every row is a list of tokens, nothing is kept, all is scored anew.
fn plain_search(
    [base, tuned, untuned]: &[Source<Host>; 3],
    prompt: &[TokenId],
    (width, successors, chunk): (usize, usize, usize),
    sampling: Sampling,
    max_tokens: usize,
) -> Vec<(Vec<TokenId>, f64)> {
    let end = WIDTH as TokenId - 1;
    let ended = |text: &[TokenId]| text.last() == Some(&end) || text.len() >= max_tokens;
    let mut beam: Vec<Vec<TokenId>> = vec![vec![]];
    let mut archive: Vec<Vec<TokenId>> = Vec::new();
    let score = |text: &[TokenId]| reward(tuned, untuned, prompt, text);
    let mut first = true;
    while beam.iter().any(|text| !ended(text)) {
        let mut candidates: Vec<Vec<TokenId>> = Vec::new();
        let mut row = 0;
        for text in &beam {
            if ended(text) {
                candidates.push(text.clone());
                continue;
            }
            for _ in 0..if first { width * successors } else { successors } {
                let mut text = text.clone();
                for _ in 0..chunk {
                    if ended(&text) {
                        break;
                    }
                    let log_probs: Vec<_> = log_probs_after(base, prompt, &text)
                        .iter()
                        .map(|p| f64::from(p / sampling.temperature).exp())
                        .collect();
                    let uniform = Uniforms::new(sampling.seed).at(row, text.len(), Purpose::Draw);
                    let mut left = uniform * log_probs.iter().sum::<f64>();
                    let token = log_probs.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    text.push(token.unwrap() as TokenId);
                }
                candidates.push(text);
                row += 1;
            }
        }
        first = false;
        let mut distinct: Vec<Vec<TokenId>> = Vec::new();
        for text in candidates {
            if !distinct.contains(&text) {
                distinct.push(text);
            }
        }
        distinct.sort_by(|a, b| score(b).total_cmp(&score(a)));
        archive.extend(distinct.iter().skip(width).filter(|text| ended(text)).cloned());
        distinct.truncate(width);
        beam = distinct;
    }
    let mut found: Vec<Vec<TokenId>> = Vec::new();
    for text in beam.into_iter().chain(archive) {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found.sort_by(|a, b| score(b).total_cmp(&score(a)));
    found.into_iter().map(|text| (score(&text), text)).map(|(score, text)| (text, score)).collect()
}

fn told(found: &Found) -> Vec<(Vec<TokenId>, f64)> {
    found.candidates.iter().map(|c| (c.continuation.tokens.clone(), c.score)).collect()
}

#[track_caller]
fn assert_found(got: &[(Vec<TokenId>, f64)], expected: &[(Vec<TokenId>, f64)]) {
    let texts =
        |found: &[(Vec<TokenId>, f64)]| found.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(got), texts(expected));
    for ((_, a), (_, b)) in got.iter().zip(expected) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_search_is_that_of_the_paper(
        seed: u64, width in 1usize..4, successors in 1usize..4, chunk in 1usize..5, max_tokens in 1usize..12,
    ) {
        let models = models();
        let sampling = Sampling::default().temperature(0.7).seed(seed);
        let search = ChunkBeamSearch::new(&models[0], ImplicitReward::new(&models[1], &models[2]))
            .width(width).successors(successors).chunk(chunk)
            .decoding(Decoding::from(sampling).max_tokens(max_tokens));
        let expected = plain_search(&models, &[1, 2], (width, successors, chunk), sampling, max_tokens);
        assert_found(&told(&search.run([1, 2]).unwrap()), &expected);
    }

    #[test]
    fn one_slot_and_one_successor_are_plain_sampling(
        seed: u64, chunk in 1usize..20, max_tokens in 1usize..16, stop in prop::collection::vec(0..4u32, 1..3),
    ) {
        let [large, tuned, untuned] = models();
        let decoding = Decoding::from(Sampling::default().seed(seed).top_p(0.9))
            .max_tokens(max_tokens)
            .stop_sequence(stop)
            .processor(FrequencyPenalty::new(0.3).unwrap());
        let expected = texts(&large, vec![vec![3]], &decoding).remove(0);
        let found = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned))
            .width(1).successors(1).chunk(chunk).decoding(&decoding).run([3]).unwrap();
        let best = found.best();
        prop_assert_eq!(found.candidates.len(), 1);
        prop_assert_eq!(&best.continuation.tokens, &expected.0);
        prop_assert_eq!(best.continuation.end.clone(), Some(expected.1));
        prop_assert!((best.score - reward(&tuned, &untuned, &[3], &expected.0)).abs() < 1e-3);
        prop_assert_eq!(found.drawn, expected.0.len());
    }

    #[test]
    fn one_slot_and_a_chunk_without_end_are_best_of_n(seed: u64, n in 1usize..8, max_tokens in 1usize..16) {
        let [large, tuned, untuned] = models();
        let decoding = Decoding::from(Sampling::default().seed(seed)).max_tokens(max_tokens);
        let mut texts = texts(&large, vec![vec![3]; n], &decoding);
        texts.sort_by(|a, b| {
            reward(&tuned, &untuned, &[3], &b.0).total_cmp(&reward(&tuned, &untuned, &[3], &a.0))
        });
        let mut expected: Vec<Vec<TokenId>> = Vec::new();
        for (text, _) in texts {
            if !expected.contains(&text) {
                expected.push(text);
            }
        }
        let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).decoding(&decoding);
        let found = search.best_of(n).run([3]).unwrap();
        let got: Vec<_> = found.candidates.iter().map(|c| c.continuation.tokens.clone()).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(found.rounds, 1);
    }
}

#[test]
fn models_hold_the_rows_that_go_on_and_no_others() {
    let held = Arc::new(Counts::default());
    let holding = |name: &str, seed: u64| {
        let inner = FnEngine::new(EngineSpec::new(name, Host, vocab(name)), move |row| {
            let mut scores = logits(seed, &row.tokens, WIDTH);
            // Ends soon, and sooner the larger the last token is.
            scores[WIDTH - 1] += row.tokens[row.tokens.len() - 1] as f32 / 4.0;
            Ok(scores)
        });
        Source::new(Counting { inner, counts: held.clone() })
    };
    let (large, tuned, untuned) = (holding("large", 1), model("tuned", 2), model("untuned", 3));
    let mut going_on = Vec::new();
    let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(2).max_tokens(40);
    search
        .run_watched([1], |progress| {
            going_on.push(progress.beam.iter().filter(|c| c.continuation.end.is_none()).count());
            // What ended within the chunk has left; at most the copies of what went on are there.
            let before = going_on.iter().rev().nth(1).map_or(16, |open| 4 * open);
            assert!(held.rows.load(Ordering::SeqCst) <= before);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(going_on.len() > 2 && going_on.iter().any(|open| (1..4).contains(open)), "{going_on:?}");
    assert_eq!(held.most_rows.load(Ordering::SeqCst), 16);
}

#[test]
fn the_prompt_is_read_once_and_every_token_is_scored_once() {
    let (large, large_counts) = counted("large", 1, &[]);
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let decoding = Decoding::from(Sampling::default().seed(5)).stop_ids([]).max_tokens(6);
    let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &small));
    let found = search.width(2).successors(3).chunk(2).decoding(decoding).run([1, 2, 3]).unwrap();
    assert_eq!((found.drawn, found.rounds), (6 * 6, 3));
    // Three tokens of the prompt, and all that was drawn but the last of each row, which nobody reads.
    let read = 3 + 6 * 5;
    assert_eq!(large_counts.take(), (1 + 5, read));
    // Tuned and untuned read the same in the same passes.
    assert_eq!(small_counts.take().1, 2 * read);
}

#[test]
fn texts_that_better_ones_push_out_are_not_lost() {
    // Writes an ended text first, which one scores higher than; the guide then lowers all that goes on.
    let large = model("large", 1);
    let guide = |_: &Prompt, text: &Continuation| {
        let ended = text.end == Some(FinishReason::EndOfSequence(10));
        Ok(if ended { 5.0 } else { 10.0 - 2.0 * (text.tokens.len() as f64 - 4.0).max(0.0) })
    };
    let decoding = Decoding::from(Sampling::default().seed(1)).max_tokens(12);
    let found = ChunkBeamSearch::new(&large, guide)
        .width(2)
        .successors(8)
        .chunk(2)
        .decoding(decoding)
        .run([1])
        .unwrap();
    let (ended, cut): (Vec<_>, Vec<_>) =
        found.candidates.iter().partition(|c| c.continuation.end == Some(FinishReason::EndOfSequence(10)));
    assert!(!ended.is_empty());
    // Rows that the limit cut are worth what they are, without an end.
    assert!(cut.iter().all(|c| c.score == -6.0 && c.continuation.tail == 0), "{cut:?}");
    assert_eq!(found.best().score, 5.0);
    assert_eq!(found.best().continuation.body().len() + 1, found.best().continuation.tokens.len());
}

#[test]
fn equals_are_kept_in_their_order_and_once() {
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

/// Tokens of one letter, or of one or two: what the same text comes to in two vocabularies.
struct Letters {
    pairs: bool,
}

impl Letters {
    fn ids(&self, text: &str) -> Vec<TokenId> {
        let letters: Vec<_> = text.bytes().map(|b| u32::from(b - b'a')).collect();
        match self.pairs {
            false => letters,
            // Pairs are the ids before the letters; the greedy cut of a text changes where it goes on.
            true => letters
                .chunks(2)
                .map(|c| if let [a, b] = c { a * WIDTH as u32 + b } else { (WIDTH * WIDTH) as u32 + c[0] })
                .collect(),
        }
    }
}

impl Renderer for Letters {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids.clone()),
            Prompt::Text(text) => Ok(self.ids(text)),
            Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "a template".into(),
            }),
        }
    }

    fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
        Ok(self.ids(text))
    }
}

fn pairs(name: &str, seed: u64) -> Source<Host> {
    let letter = |i: usize| b'a' + i as u8;
    let singles = (0..WIDTH).map(|i| vec![letter(i)]);
    let doubles = (0..WIDTH * WIDTH).map(|i| vec![letter(i / WIDTH), letter(i % WIDTH)]);
    let end = (WIDTH + WIDTH * WIDTH) as TokenId;
    let vocab = Vocab::new(name, doubles.chain(singles).chain([b"<end>".to_vec()])).unwrap();
    let vocab = vocab.with_eos([end]).unwrap();
    let width = vocab.width();
    eft_core::from_fn(Host, vocab, move |ids| Ok(logits(seed, ids, width)))
        .rendered_by(Letters { pairs: true })
        .unwrap()
}

#[test]
fn a_guide_of_other_tokens_judges_the_text() {
    let large = model("large", 1).rendered_by(Letters { pairs: false }).unwrap();
    let (tuned, untuned) = (pairs("tuned", 2), pairs("untuned", 3));
    for chunk in [1, 2, 3] {
        let search =
            ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(chunk).max_tokens(9);
        let found = search.run("abc").unwrap();
        assert!(found.candidates.len() >= 2);
        for Candidate { continuation, score } in &found.candidates {
            let mut ids = tuned.continuation(&continuation.to_text()).unwrap();
            if continuation.end == Some(FinishReason::EndOfSequence(10)) {
                ids.extend(tuned.vocab().eos());
            }
            let expected = reward(&tuned, &untuned, &tuned.render("abc").unwrap(), &ids);
            assert!(
                (score - expected).abs() < 1e-3,
                "{score}, not {expected}, chunk {chunk}: {continuation:?}"
            );
        }
    }
    let refused = |search: ChunkBeamSearch<'_>, prompt: Prompt| match search.run(prompt) {
        Err(Error::Unsupported { .. }) => {}
        other => panic!("{other:?}"),
    };
    refused(ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)), [1].into());
    let nameless = eft_core::from_fn(Host, Vocab::anonymous("?", 4).unwrap(), |_| Ok(vec![0.0; 4]));
    refused(ChunkBeamSearch::new(&nameless, ImplicitReward::new(&tuned, &untuned)), [1].into());
}

#[test]
fn a_black_box_that_only_samples_text_will_do() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let service = BlackBox::new(move |prompt: &Prompt, text: &str, tokens, number| {
        assert_eq!(prompt, &"abc".into());
        seen.lock().unwrap().push((number, text.len()));
        let letters = (0..tokens as u64).map(|i| char::from(b'a' + ((number * 7 + i) % 9) as u8));
        Ok(Written { text: letters.collect(), tokens, ended: text.len() >= 4 && number % 3 == 0 })
    });
    let (tuned, untuned) = (pairs("tuned", 2), pairs("untuned", 3));
    let search = ChunkBeamSearch::new(&service, ImplicitReward::new(&tuned, &untuned));
    let found = search.width(2).successors(2).chunk(2).max_tokens(8).run("abc").unwrap();
    for Candidate { continuation, score } in &found.candidates {
        let mut ids = tuned.continuation(&continuation.to_text()).unwrap();
        ids.extend(tuned.vocab().eos().iter().filter(|_| continuation.end == Some(FinishReason::Ended)));
        assert!((score - reward(&tuned, &untuned, &tuned.render("abc").unwrap(), &ids)).abs() < 1e-3);
    }
    let calls = calls.lock().unwrap();
    assert_eq!(found.drawn, 2 * calls.len());
    assert!(calls.iter().enumerate().all(|(i, (number, _))| i as u64 == *number), "a number for each call");
}

#[test]
fn budgets_and_watchers_end_a_search_and_nothing_crosses_but_tokens() {
    let counter = TrafficCounter::new(Host);
    let [large, tuned, untuned] = [("large", 1), ("tuned", 2), ("untuned", 3)]
        .map(|(name, seed)| count_traffic(model(name, seed), &counter));
    let decoding = Decoding::from(Sampling::default().top_p(0.9)).stop_ids([]).max_tokens(20);
    let search =
        || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(3).decoding(&decoding);
    for budget in [0, 15, 16, 100, 10_000] {
        let found = search().budget(budget).run([1]).unwrap();
        assert!(
            found.drawn <= budget && found.drawn + 16 > budget.min(16 * 20),
            "{} of {budget}",
            found.drawn
        );
        assert!(!found.candidates.is_empty());
    }
    let mut rounds = 0;
    let found = search().run_watched([1], |progress| {
        rounds = progress.rounds;
        if progress.rounds == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let found = found.unwrap();
    assert_eq!((rounds, found.rounds, found.drawn), (2, 2, 2 * 3 * 16));
    assert!(found.best().continuation.end.is_none());
    assert_eq!(counter.traffic().row_floats, 0);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let [large, tuned, untuned] = models();
    let search = || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned));
    let parameter = |search: ChunkBeamSearch<'_>| match search.run([1]) {
        Err(Error::InvalidParameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(parameter(search().width(0)), "width");
    assert_eq!(parameter(search().successors(0)), "successors");
    assert_eq!(parameter(search().chunk(0)), "chunk");
    assert_eq!(parameter(search().decoding(Sampling::default().top_p(2.0))), "top_p");
    let nan = |_: &Prompt, _: &Continuation| Ok(f64::NAN);
    assert_eq!(parameter(ChunkBeamSearch::new(&large, nan)), "score of a guide");
    let told = search().decoding(Decoding::default().alternatives(2)).run([1]);
    assert!(matches!(told, Err(Error::Unsupported { .. })));
    // A guide's context is a limit, too: what was written until then is what there is.
    let short = short_model("short", 2, 5);
    let decoding = Decoding::default().stop_ids([]).max_tokens(20);
    let found =
        ChunkBeamSearch::new(&large, ImplicitReward::new(&short, &untuned)).decoding(decoding).run([1, 2]);
    assert!(found.unwrap().candidates.iter().all(|c| c.continuation.tokens.len() == 4));
    let guide: &dyn Guide = &nan;
    assert!(guide.open(&[1].into(), None).is_ok());
}
