//! Probabilities of bytes, compared with sums over all token sequences.
use eft_core::bytes::{self, END};
use eft_core::decode::Request;
use eft_core::{Decoding, Sampling};
use proptest::prelude::*;

use super::*;
use crate::speculate::distribution::{Counts, observed, over_critical};

/// The log-probabilities of the symbols after a text, by sums over token sequences.
fn expected(toy: &Toy, seed: u64, before: &[TokenId], text: &[u8], any: bool) -> Vec<(TokenId, f64)> {
    let all = toy.begins_with(seed, before, &[], text, any);
    let byte = |byte: &u8| {
        let longer = toy.begins_with(seed, before, &[], &[text, &[*byte]].concat(), any);
        (TokenId::from(*byte), (longer / all).ln())
    };
    let end = (END, (toy.is(seed, before, &[], text, any) / all).ln());
    LETTERS.iter().map(byte).chain([end]).collect()
}

fn check(toy: &Toy, seed: u64, text: &[u8], any: bool) {
    check_bytes(&toy.model(seed).bytes().unwrap(), toy, seed, text, any);
}

/// Compares the rows of a source over bytes, of a toy model, with sums over token sequences.
pub(super) fn check_bytes(bytes: &Source<Host>, toy: &Toy, seed: u64, text: &[u8], any: bool) {
    let tokens: Vec<_> = text.iter().map(|byte| TokenId::from(*byte)).collect();
    // The prompt is the token that begins a text, and the text is fed after it.
    let mut evaluator = eft_core::Evaluator::open(&[bytes], &[Prompt::from("")]).unwrap();
    evaluator.push(std::slice::from_ref(&tokens)).unwrap();
    let rows = values(&evaluator.eval_from(0, &[0]).unwrap());
    for (length, row) in rows.iter().enumerate() {
        let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        for (symbol, log_prob) in expected(toy, seed, &[BEGIN], &text[..length], any) {
            let got = f64::from(row[symbol as usize]);
            let text = String::from_utf8_lossy(&text[..length]);
            assert!(
                (got - log_prob).abs() < 1e-5,
                "after {text:?}, symbol {symbol}: {got}, expected {log_prob}"
            );
        }
        assert!(row[usize::from(b'x')] < -1000.0, "a byte that no token has");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn probabilities_are_those_of_all_token_sequences(
        choices in proptest::collection::vec((0usize..40, 0usize..40), 0..14),
        text in proptest::collection::vec(proptest::sample::select(LETTERS), 0..7),
        seed in 0u64..1000,
    ) {
        check(&Toy::new(&choices), seed, &text, false);
    }

    #[test]
    fn also_if_every_sequence_is_accepted(
        choices in proptest::collection::vec((0usize..40, 0usize..40), 0..14),
        text in proptest::collection::vec(proptest::sample::select(LETTERS), 0..5),
        seed in 0u64..1000,
    ) {
        check(&Toy::new(&choices).any(), seed, &text, true);
    }
}

#[test]
fn a_text_and_its_end_are_as_probable_as_its_tokens() {
    let (toy, seed) = (toy(), 5);
    let bytes = toy.model(seed).bytes().unwrap();
    for text in ["", "a", "ab", "abc ab", "cc a bcaab", "aaaabbbb cccc"] {
        let symbols = [bytes::tokens(text), vec![END]].concat();
        let got = bytes.score("", &symbols).unwrap().total;
        let (mut tokens, mut expected) = (Vec::new(), 0.0);
        for token in toy.bpe.encode(text.as_bytes()).unwrap().into_iter().chain([EOS]) {
            let next = toy.next(seed, &[BEGIN], &tokens, false);
            expected += next.iter().find(|(id, _)| *id == token).unwrap().1;
            tokens.push(token);
        }
        assert!((got - expected).abs() < 1e-4, "{text:?}: {got}, expected {expected}");
    }
}

#[test]
fn sampled_bytes_are_sampled_tokens_as_texts() {
    check_samples(&toy().model(2).bytes().unwrap(), &toy(), 2, false);
}

/// Compares sampled bytes of a toy model with the probabilities of texts by sums over token sequences.
pub(super) fn check_samples(bytes: &Source<Host>, toy: &Toy, seed: u64, any: bool) {
    const ROWS: usize = 2000;
    const LENGTH: usize = 3;
    let mut expected = Counts::new();
    let mut open = vec![Vec::new()];
    while let Some(text) = open.pop() {
        let of = |text: &Vec<TokenId>| text.iter().map(|byte| *byte as u8).collect::<Vec<_>>();
        let ended = toy.is(seed, &[BEGIN], &[], &of(&text), any);
        if text.len() == LENGTH {
            let begun = toy.begins_with(seed, &[BEGIN], &[], &of(&text), any);
            expected.insert(text.clone(), ROWS as f64 * begun);
            continue;
        }
        expected.insert([&text[..], &[END]].concat(), ROWS as f64 * ended);
        open.extend(letters().into_iter().map(|letter| [&text[..], &[letter]].concat()));
    }
    let decoding = Decoding::from(Sampling::default().seed(31)).max_tokens(LENGTH);
    let batch = bytes.generate_batch([Request::new("").samples(ROWS)], decoding).unwrap();
    let over = over_critical(&observed(batch, ROWS), &expected);
    assert!(over < 1.0, "{over}");
}

#[test]
fn two_tokenizers_combine_over_bytes() {
    let (one, other) = (toy(), Toy::new(&[(2, 2), (3, 0), (1, 0), (6, 1)]));
    let (large, tuned, small) =
        (one.model(1).bytes().unwrap(), other.model(2).bytes().unwrap(), other.model(3).bytes().unwrap());
    let upscaled = &large + 0.5 * (&tuned - &small);
    assert_eq!(upscaled.to_string(), "toy/bytes + 0.5·(toy/bytes − toy/bytes)");
    let text = "abcab c";
    let row = |source: &Source<Host>| log_probs_after_text(source, text);
    let (large, tuned, small, got) = (row(&large), row(&tuned), row(&small), row(&upscaled));
    let sums: Vec<f64> = (0..large.len())
        .map(|i| f64::from(large[i]) + 0.5 * (f64::from(tuned[i]) - f64::from(small[i])))
        .collect();
    let total = sums.iter().map(|x| x.exp()).sum::<f64>().ln();
    for symbol in letters().into_iter().chain([END]) {
        let (got, expected) = (f64::from(got[symbol as usize]), sums[symbol as usize] - total);
        assert!((got - expected).abs() < 1e-4, "symbol {symbol}: {got}, expected {expected}");
    }
}

fn log_probs_after_text(source: &Source<Host>, text: &str) -> Vec<f32> {
    let mut evaluator = eft_core::Evaluator::open(&[source], &[Prompt::from("")]).unwrap();
    evaluator.push(&[bytes::tokens(text)]).unwrap();
    let row = values(&evaluator.eval_last(0).unwrap()).remove(0);
    let total = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
    row.into_iter().map(|x| (f64::from(x) - total) as f32).collect()
}
