//! Drafts of another tokenizer, and drafts over bytes.
use eft_core::decode::Request;
use eft_core::{Decoding, Sampling};

use super::*;
use crate::speculate::distribution::{Counts, observed, over_critical};

fn other() -> Toy {
    Toy::new(&[(2, 2), (3, 0), (1, 0), (6, 1), (0, 3)])
}

fn ids(generation: impl Iterator<Item = Result<eft_core::Token>>) -> Vec<TokenId> {
    generation.map(|token| token.unwrap().id).collect()
}

/// The target of the tests, and sources that draft for it: another model, the target's own logits under another tokenizer,
/// and a source over bytes.
fn drafts() -> Vec<Source<Host>> {
    let other = other();
    vec![other.model(4), other.model(3), toy().model(3).bytes().unwrap(), other.model(9).bytes().unwrap()]
}

#[test]
fn greedy_and_repeated_texts_equal_the_plain_ones() {
    let toy = toy();
    let upscaled = toy.model(1) + 0.5 * (toy.model(2) - toy.model(3));
    for decoding in
        [Sampling::greedy(), Sampling::default().seed(5), Sampling::default().temperature(0.3).seed(6)]
    {
        let decoding = Decoding::from(decoding).stop_ids([]).max_tokens(40);
        let plain = ids(upscaled.generate("ab", &decoding).unwrap());
        for draft in drafts() {
            let speculative = upscaled.speculate().draft(&draft).block(4).same_text();
            let mut text = speculative.generate("ab", &decoding).unwrap();
            assert_eq!(ids(text.by_ref()), plain, "{draft}");
            assert!(text.report().unwrap().drafted > 0, "{draft} has drafted nothing");
        }
    }
}

#[test]
fn a_draft_that_knows_the_text_is_accepted() {
    // Both write "abcabcabc…", which one tokenizer writes as "abc" and the other in other tokens.
    let cycle = |toy: Toy, seed: u64| {
        let inner = toy.clone();
        let model = eft_core::from_fn(Host, toy.vocab.clone(), move |tokens| {
            let text = inner.vocab.decode(tokens);
            let mut row = inner.logits(seed, tokens);
            for (id, logit) in row.iter_mut().enumerate() {
                let bytes = inner.vocab.bytes(id as TokenId).unwrap();
                let goes_on = |(i, byte): (usize, &u8)| *byte == b"abc"[(text.len() + i) % 3];
                let fits = id as TokenId >= SPECIAL && bytes.iter().enumerate().all(goes_on);
                *logit += if fits { 20.0 + 5.0 * bytes.len() as f32 } else { 0.0 };
            }
            Ok(row)
        });
        model.rendered_by(toy).unwrap()
    };
    let (target, draft) = (cycle(toy(), 1), cycle(other(), 2));
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(30);
    let plain = ids(target.generate("abc", &decoding).unwrap());
    let mut text = target.speculate().draft(&draft).block(3).generate("abc", &decoding).unwrap();
    assert_eq!(ids(text.by_ref()), plain);
    let report = text.report().unwrap();
    assert!(report.acceptance().unwrap() > 0.9 && report.tokens_per_pass().unwrap() > 2.5, "{report:?}");
}

#[test]
fn rows_of_a_batch_are_drafted_as_each_is_alone() {
    let (target, draft) = (toy().model(1), other().model(2));
    let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(20);
    let prompts = ["", "ab", "abca b", "c c"];
    let speculative = target.speculate().draft(&draft).block(3).same_text();
    let plain = texts_of(target.generate_batch(prompts, &decoding).unwrap());
    assert_eq!(texts_of(speculative.generate_batch(prompts, &decoding).unwrap()), plain);
}

fn texts_of(batch: eft_core::decode::Batch<Host>) -> Vec<String> {
    batch.text().unwrap().read().into_iter().map(|text| text.unwrap()).collect()
}

#[test]
fn sampled_texts_follow_the_target() {
    const ROWS: usize = 2000;
    const LENGTH: usize = 2;
    let toy = toy();
    let target = toy.model(1);
    let mut expected = Counts::new();
    let mut open = vec![(Vec::new(), 1.0)];
    while let Some((text, probability)) = open.pop() {
        let row = toy.logits(1, &[&[BEGIN][..], &text].concat());
        let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        for (id, logit) in row.iter().enumerate() {
            let text = [&text[..], &[id as TokenId]].concat();
            let probability = probability * f64::from(*logit).exp() / total;
            if text.len() == LENGTH || id as TokenId == EOS {
                expected.insert(text, probability * ROWS as f64);
            } else {
                open.push((text, probability));
            }
        }
    }
    for (draft, seed) in [(other().model(2), 41), (toy.model(1).bytes().unwrap(), 42)] {
        let decoding = Decoding::from(Sampling::default().seed(seed)).max_tokens(LENGTH);
        let speculative = target.speculate().draft(&draft).block(LENGTH);
        let batch = speculative.generate_batch([Request::new("").samples(ROWS)], decoding).unwrap();
        let over = over_critical(&observed(batch, ROWS), &expected);
        assert!(over < 1.0, "{draft}: {over}");
    }
}

#[test]
fn a_combination_over_bytes_is_drafted_by_its_term_or_by_a_model_of_tokens() {
    let (toy, other) = (toy(), other());
    let tuned = other.model(2).bytes().unwrap();
    let upscaled = toy.model(1).bytes().unwrap() + 0.5 * (&tuned - other.model(3).bytes().unwrap());
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(40);
    let plain = ids(upscaled.generate("ab", &decoding).unwrap());
    for draft in [tuned, other.model(2)] {
        let text = upscaled.speculate().draft(&draft).block(5).generate("ab", &decoding).unwrap();
        assert_eq!(ids(text), plain, "{draft}");
    }
}
