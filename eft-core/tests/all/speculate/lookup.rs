//! Drafts that are looked up in the prompt and in the text: texts are those of plain decoding, whatever is found.
#[allow(dead_code, reason = "only the tests of `index` are needed here")]
#[path = "../../../src/speculate/lookup/earlier.rs"]
mod earlier;
// For its unit tests: the library itself is compiled without its tests (`test = false` in Cargo.toml).
#[allow(dead_code, reason = "only its tests are needed here")]
#[path = "../../../src/speculate/lookup/index.rs"]
mod index;
#[allow(dead_code, reason = "only the tests of `index` are needed here")]
#[path = "../../../src/speculate/lookup/ngrams.rs"]
mod ngrams;

use eft_core::decode::Request;
use eft_core::speculate::Lookup;
use eft_core::{EngineSpec, FnEngine, Prompt};

use super::passes::alphabet;
use super::*;

/// A model that depends on the last two tokens only, so that its greedy texts repeat themselves.
fn repeating(name: &str, seed: u64) -> Source<Host> {
    let spec = EngineSpec::new(name, Host, vocab(name));
    Source::new(FnEngine::new(spec, move |row| {
        let recent = &row.tokens[row.tokens.len().saturating_sub(2)..];
        Ok(logits(seed, recent, WIDTH))
    }))
}

/// Targets that repeat themselves, more or less, and speculation by lookup alone, beside a term, and beside another model.
fn looked_up(seed: u64) -> Vec<(Source<Host>, Speculative<Host>)> {
    let [large, other, small] =
        [("large", 0), ("other", 9), ("small", 4)].map(|(name, salt)| repeating(name, seed ^ salt));
    let upscaled = &large + 0.3 * (&other - &small);
    let mixed = &large + 0.4 * &model("noise", seed);
    let (adapted, _) = counted("adapted", seed, &["tuned"]);
    let tuned = adapted.adapter("tuned").unwrap();
    let shared = &large + 0.2 * (&tuned - &adapted);
    vec![
        (large.clone(), large.speculate()),
        (upscaled.clone(), upscaled.speculate()),
        (upscaled.clone(), upscaled.speculate().draft(&large)),
        (upscaled.clone(), upscaled.speculate().without_model()),
        (mixed.clone(), mixed.speculate().draft(&small)),
        (mixed.clone(), mixed.speculate().without_model()),
        (shared.clone(), shared.speculate().draft(&tuned)),
    ]
}

fn lookup() -> impl Strategy<Value = Lookup> {
    (1usize..4, 0usize..4).prop_map(|(least, more)| Lookup::default().greatest(least + more).least(least))
}

/// Prompts of few tokens, full of repeats.
fn prompts() -> impl Strategy<Value = Vec<Vec<TokenId>>> {
    prop::collection::vec(prop::collection::vec(0..3 as TokenId, 1..20), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn texts_are_those_of_plain_decoding(
        seed in 0u64..50,
        which in 0usize..7,
        lookup in lookup(),
        decoding in settings(),
        more in 0usize..20,
        prompts in prompts(),
        earlier in prop::collection::vec(prop::collection::vec(0..WIDTH as TokenId, 0..20), 0..3),
        block in prop::option::of(0usize..6),
    ) {
        let (target, speculative) = looked_up(seed).swap_remove(which);
        let speculative = match &earlier[..] {
            [] => speculative.lookup(lookup),
            texts => speculative.lookup_in(lookup, texts),
        };
        let speculative = speculative.same_text();
        let speculative = match block {
            Some(tokens) => speculative.block(tokens),
            None => speculative,
        };
        assert_same_texts(&target, &speculative, &prompts, &decoding.max_tokens(more));
    }

    #[test]
    fn rows_that_join_and_samples_look_up_their_own_texts(
        seed in 0u64..50, which in 0usize..7, lookup in lookup(), prompts in prompts(), steps in 0usize..6,
        block in 1usize..5, samples in 1usize..3,
    ) {
        let (target, speculative) = looked_up(seed).swap_remove(which);
        let decoding = Decoding::from(Sampling::default().temperature(0.4).seed(seed)).max_tokens(12);
        let request = |(id, prompt): (usize, &Vec<TokenId>)| {
            Request::new(prompt.clone()).id(id as u64).samples(if id == 0 { samples } else { 1 })
        };
        let requests: Vec<_> = prompts.iter().enumerate().map(request).collect();
        let rows = prompts.len() + samples - 1;
        let plain = by_row(events(target.generate_batch(requests.clone(), &decoding)), rows);
        let speculative = speculative.lookup(lookup).same_text().block(block);
        let mut batch = speculative.generate_batch(requests[..1].to_vec(), &decoding).unwrap();
        let mut all = Vec::new();
        (0..steps).for_each(|_| all.extend(batch.advance().unwrap()));
        batch.join(requests[1..].to_vec()).unwrap();
        all.extend(batch.map(Result::unwrap));
        for (got, expected) in by_row(all.into_iter().map(Ok).collect(), rows).iter().zip(&plain) {
            assert_same(got, expected);
        }
    }

    #[test]
    fn an_interrupted_text_goes_on_as_if_it_had_not_been(seed in 0u64..50, cut in 1usize..12, beside: bool) {
        let (target, speculative) = looked_up(seed).swap_remove(if beside { 2 } else { 3 });
        let decoding = |tokens| Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
        let all: Vec<_> = target.generate([1, 2, 1], decoding(20)).unwrap().map(|t| t.unwrap().id).collect();
        let speculative = speculative.lookup(Lookup::default()).block(3);
        let mut first = speculative.generate([1, 2, 1], decoding(cut)).unwrap();
        let mut text: Vec<_> = first.by_ref().map(|t| t.unwrap().id).collect();
        let rest = speculative.over(first.into_evaluator(), decoding(20 - cut)).unwrap();
        text.extend(rest.filter_map(|event| match event.unwrap() {
            Event::Token { token, .. } => Some(token.id),
            Event::Finished { .. } | Event::Failed { .. } => None,
        }));
        prop_assert_eq!(text, all);
    }
}

fn long() -> Decoding {
    Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(9)
}

#[test]
fn what_is_looked_up_takes_one_pass_of_each_term_and_no_token_is_read_twice() {
    let (large, large_counts) = alphabet("large", 3.0, 1);
    let (tuned, tuned_counts) = alphabet("tuned", 2.0, 1);
    let (untuned, untuned_counts) = alphabet("untuned", 1.0, 1);
    let target = &large + (&tuned - &untuned);
    // The alphabet once and its first letters again.
    let prompt: Vec<_> = (0..WIDTH as TokenId).chain(0..3).collect();
    let beside = target.speculate().draft(&tuned).lookup(Lookup::default()).block(2);
    for speculative in [beside.clone(), beside.without_model()] {
        let mut text = speculative.generate(prompt.clone(), long()).unwrap();
        assert_eq!(text.by_ref().count(), 9);
        let report = text.report().unwrap();
        assert_eq!((report.blocks, report.plain_steps, report.draft_passes), (3, 0, 0));
        assert_eq!((report.looked_up, report.looked_up_judged, report.looked_up_accepted), (6, 6, 6));
        assert_eq!((report.lookup_acceptance(), report.model_acceptance()), (Some(1.0), None));
        // The prompt, and three blocks of two drafted tokens and one more. The last token is not read.
        for counts in [&large_counts, &tuned_counts, &untuned_counts] {
            assert_eq!(counts.take(), (1 + 3, prompt.len() + 2 + 3 + 3));
        }
    }
}

#[test]
fn where_nothing_is_found_the_model_drafts() {
    let (target, _) = alphabet("target", 3.0, 1);
    let (draft, counts) = alphabet("draft", 2.0, 1);
    let speculative = target.speculate().draft(&draft).lookup(Lookup::default()).block(2);
    // The alphabet has 11 letters: 14 are written before three of them come again.
    let mut text = speculative.generate([0], long().max_tokens(18)).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    let report = text.report().unwrap();
    assert_eq!((report.blocks, report.draft_passes, report.looked_up), (6, 10, 2));
    assert_eq!((report.accepted, report.looked_up_accepted), (12, 2));
    assert_eq!(counts.take().0, 1 + 9, "the scores after the prompt take no pass");
}

#[test]
fn earlier_texts_are_searched_too() {
    let (target, _) = alphabet("target", 3.0, 1);
    let alphabet: Vec<_> = (0..WIDTH as TokenId).chain(0..3).collect();
    // The draft ends with the text that it was found in: after the letter 5, nothing is known.
    let texts = [&alphabet[..6], &[9, 9, 9]];
    let speculative = target.speculate().lookup_in(Lookup::default(), texts).without_model().block(2);
    let mut text = speculative.generate([0, 1, 2], long().max_tokens(6)).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    let report = text.report().unwrap();
    assert_eq!((report.blocks, report.plain_steps, report.looked_up_accepted), (1, 3, 2));
    let all = target.speculate().lookup_in(Lookup::default(), [alphabet]).without_model().block(2);
    let mut text = all.generate([0, 1, 2], long().max_tokens(9)).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    assert_eq!(text.report().unwrap().tokens_per_pass(), Some(3.0));
}

#[test]
fn the_longest_rendering_of_the_prompt_is_searched() {
    let (large, _) = alphabet("large", 3.0, 1);
    let (small, _) = alphabet("small", 1.0, 1);
    let hinted = &large + small.under(PromptTransform::prefix([4, 5, 6, 7, 8, 9]));
    let speculative = hinted.speculate().lookup(Lookup::default()).without_model().block(2);
    let mut text = speculative.generate([4, 5, 6], long().max_tokens(3)).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    let report = text.report().unwrap();
    assert_eq!((report.blocks, report.plain_steps, report.looked_up_accepted), (1, 0, 2));
}

#[test]
fn lookups_that_are_out_of_range_or_missing_are_refused() {
    let target = model("target", 1);
    for lookup in [Lookup::default().least(0), Lookup::default().greatest(0)] {
        let speculative = target.speculate();
        for speculative in [speculative.clone().lookup(lookup), speculative.lookup_in(lookup, [[1, 2, 3]])] {
            let refused = speculative.generate([1], long()).map(drop);
            assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{refused:?}");
        }
    }
    let nothing = target.speculate().without_model().generate([1], long()).map(drop);
    assert!(matches!(nothing, Err(Error::Unsupported { .. })), "{nothing:?}");
}

#[test]
fn tokens_that_the_target_lacks_are_not_drafted() {
    // One model knows two letters more, and has read them in its own prompt.
    let wide = (0..WIDTH as u8 + 2).map(|i| vec![b'a' + i]);
    let spec = EngineSpec::new("wide", Host, eft_core::Vocab::new("wide", wide).unwrap());
    let wide = Source::new(FnEngine::new(spec, |row| {
        let next = (row.tokens[row.tokens.len() - 1] + 1) as usize % WIDTH;
        Ok((0..WIDTH + 2).map(|id| if id == next { 1.0 } else { 0.0 }).collect())
    }));
    let (large, _) = alphabet("large", 3.0, 1);
    let target = &large + wide.under(PromptTransform::prefix([1, 2, 3, 4, 12, 11]));
    let decoding = long();
    let plain: Vec<_> = target.generate([1, 2, 3], &decoding).unwrap().map(|t| t.unwrap().id).collect();
    let speculative = target.speculate().lookup(Lookup::default()).without_model().block(4);
    let drafted: Vec<_> =
        speculative.generate([1, 2, 3], &decoding).unwrap().map(|t| t.unwrap().id).collect();
    assert_eq!(drafted, plain);
}

#[test]
fn an_opaque_target_is_drafted_by_lookups() {
    let target = Source::opaque(repeating("inner", 3));
    let speculative = target.speculate().lookup(Lookup::default()).block(3);
    let mut text = speculative.generate(Prompt::from([1, 2, 1]), long().max_tokens(40)).unwrap();
    text.by_ref().for_each(|token| drop(token.unwrap()));
    assert!(text.report().unwrap().looked_up_accepted > 0);
}
