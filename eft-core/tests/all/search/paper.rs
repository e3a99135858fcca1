//! The search is the algorithm of the paper, and its special cases are plain sampling and best-of-n.
use eft_core::sample::{FrequencyPenalty, Purpose, Uniforms};
use eft_core::search::{ChunkBeamSearch, ImplicitReward, SearchResult};
use eft_core::{Decoding, Host, Sampling, Source, TokenId};
use proptest::prelude::*;

use super::{models, reward, texts};
use crate::common::*;

/// A plain implementation of the search: every row is a list of tokens, nothing is cached, and every text is scored
/// from the start.
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

fn candidates(result: &SearchResult) -> Vec<(Vec<TokenId>, f64)> {
    result.candidates.iter().map(|c| (c.continuation.tokens.clone(), c.score)).collect()
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
    fn the_search_is_the_algorithm_of_the_paper(
        seed: u64, width in 1usize..4, successors in 1usize..4, chunk in 1usize..5, max_tokens in 1usize..12,
    ) {
        let models = models();
        let sampling = Sampling::default().temperature(0.7).seed(seed);
        let search = ChunkBeamSearch::new(&models[0], ImplicitReward::new(&models[1], &models[2]))
            .width(width).successors(successors).chunk(chunk)
            .decoding(Decoding::from(sampling).max_tokens(max_tokens));
        let expected = plain_search(&models, &[1, 2], (width, successors, chunk), sampling, max_tokens);
        assert_found(&candidates(&search.run([1, 2]).unwrap()), &expected);
    }

    #[test]
    fn a_beam_of_one_with_one_successor_is_plain_sampling(
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
    fn a_beam_of_one_with_an_unlimited_chunk_is_best_of_n(seed: u64, n in 1usize..8, max_tokens in 1usize..16) {
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
