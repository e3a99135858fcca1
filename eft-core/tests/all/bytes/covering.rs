//! Bytes by all token sequences, canonical or not, compared with sums over all of them.
use eft_core::bytes::{self, ByteSettings, END, Work};
use eft_core::conformance::{SourceTest, check_joins, check_source};
use eft_core::{Error, LogitSource, Message, RowFeed};
use proptest::prelude::*;

use super::exact::{check_bytes, check_samples};
use super::sessions::{check_failures, prompts};
use super::*;

fn all(share: f64) -> ByteSettings {
    ByteSettings::default().covering(share)
}

/// The toy tokenizer with a second token for each of two letters, as byte-fallback tokens are, and one for a part of a
/// character.
fn with_fallback() -> Toy {
    let toy = toy();
    let tokens = (0..toy.vocab.real() as TokenId).map(|id| toy.vocab.bytes(id).unwrap().to_vec());
    let tokens = tokens.chain([&b"a"[..], b" ", b"\xc3", b"\xa9", b"\xc3\xa9"].map(<[u8]>::to_vec));
    let vocab = Vocab::new("fallback", tokens).unwrap();
    let vocab = vocab.with_special([BEGIN]).unwrap().with_eos([EOS]).unwrap();
    Toy { vocab: Arc::new(vocab), ..toy }
}

fn rows_of(source: &Source<Host>, text: &str) -> Vec<Vec<f32>> {
    let (mut session, _) = source.open(&[Prompt::from("")]).unwrap();
    values(&session.extend(&[RowFeed::all(bytes::tokens(text))]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn probabilities_are_sums_over_all_token_sequences(
        choices in proptest::collection::vec((0usize..40, 0usize..40), 0..14),
        text in proptest::collection::vec(proptest::sample::select(LETTERS), 0..5),
        seed in 0u64..1000,
    ) {
        // What is canonical does not matter.
        let toy = Toy::new(&choices);
        check_bytes(&toy.model(seed).bytes_with(all(0.0)).unwrap(), &toy, seed, &text, true);
    }

    #[test]
    fn also_if_a_byte_has_two_tokens(
        text in proptest::collection::vec(proptest::sample::select(LETTERS), 0..5),
        seed in 0u64..1000,
    ) {
        let toy = with_fallback();
        let bytes = toy.model(seed).bytes_with(all(0.0)).unwrap();
        check_bytes(&bytes, &toy, seed, &text, true);
        check_bytes(&bytes, &toy, seed, &[&text[..text.len().min(2)], "\u{e9}".as_bytes()].concat(), true);
    }
}

#[test]
fn sampled_bytes_are_sampled_tokens_as_texts() {
    check_samples(&toy().model(2).bytes_with(all(0.0)).unwrap(), &toy(), 2, true);
}

#[test]
fn all_sequences_obey_the_laws_of_sources() {
    let symbols = || letters().into_iter().chain([END]);
    let of = |toy: Toy, seed: u64, share: f64| toy.model(seed).bytes_with(all(share)).unwrap();
    let (few, all) = (of(toy(), 3, 0.05), of(with_fallback(), 3, 0.0));
    check_source(&few, &SourceTest::new(prompts()).tokens(symbols())).unwrap();
    check_joins(&few, &SourceTest::new(prompts()).tokens(symbols())).unwrap();
    check_source(&all, &SourceTest::new(prompts()).tokens(symbols()).steps(4).walks(1)).unwrap();
    let combined = &few + 0.5 * (of(Toy::new(&[(2, 2), (3, 0)]), 4, 0.02) - of(toy(), 5, 0.02));
    check_source(&combined, &SourceTest::new(prompts()).tokens(symbols()).walks(1)).unwrap();
    // Prompts as bytes, after the token that ends a text, and without it.
    let ids = [vec![END], [&[END][..], &bytes::tokens("ab ca")].concat(), bytes::tokens("abca")];
    check_source(&few, &SourceTest::new(ids).tokens(symbols()).walks(1)).unwrap();
}

#[test]
fn a_call_that_fails_changes_nothing() {
    check_failures(all(0.1));
}

#[test]
fn improbable_sequences_are_dropped_and_that_is_reported() {
    let text = "abcaab b";
    let exact = rows_of(&toy().model(3).bytes_with(all(0.0)).unwrap(), text);
    let mut before = 0.0;
    for share in [0.002, 0.02, 0.2] {
        let work = Work::default();
        let few = toy().model(3).bytes_with(all(share).count(&work)).unwrap();
        for (exact, few) in exact.iter().zip(rows_of(&few, text)) {
            let distance =
                exact.iter().zip(&few).map(|(a, b)| f64::from(a.exp() - b.exp()).abs()).sum::<f64>();
            assert!(distance / 2.0 < 10.0 * share, "{distance} with {share}");
            for symbol in letters().into_iter().chain([END]) {
                let gap = exact[symbol as usize] - few[symbol as usize];
                assert!(gap.abs() < 3.0, "symbol {symbol}: {gap} with {share}");
            }
        }
        assert!(work.dropped() > before, "{} with {share}", work.dropped());
        before = work.dropped();
        // The longest token has four bytes.
        assert!(work.most_rows() <= (1.0 / share) as usize + 5, "{work:?}");
    }
    let work = Work::default();
    rows_of(&toy().model(3).bytes_with(all(0.0).count(&work)).unwrap(), text);
    assert_eq!(work.dropped(), 0.0);
}

#[test]
fn a_text_with_too_many_sequences_is_an_error() {
    let bytes = toy().model(3).bytes_with(all(0.0)).unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    let refused = session.extend(&[RowFeed::last(bytes::tokens(&"ab ca".repeat(8)))]).unwrap_err();
    assert!(refused.to_string().contains("ByteSettings::covering"), "{refused}");
    // With a share they are few, however long the text is.
    let work = Work::default();
    let bytes = toy().model(3).bytes_with(all(0.1).count(&work)).unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    session.extend(&[RowFeed::last(bytes::tokens(&"ab ca".repeat(8)))]).unwrap();
    assert!(work.most_rows() <= 15, "{work:?}");
}

#[test]
fn a_prompt_keeps_its_tokens_but_for_its_end() {
    let toy = toy();
    let bytes = toy.model(7).bytes_with(all(0.0)).unwrap();
    for prompt in ["", "a", "abc", "abca b", "ca bcaab", "cccc ab"] {
        let ids = toy.bpe.encode(prompt.as_bytes()).unwrap();
        let longer = |rest: &[u8]| {
            (SPECIAL..toy.vocab.real() as TokenId).any(|id| {
                let bytes = toy.vocab.bytes(id).unwrap();
                bytes.starts_with(rest) && bytes.len() > rest.len()
            })
        };
        let kept =
            (0..=ids.len()).find(|kept| *kept == ids.len() || longer(&toy.vocab.decode(&ids[*kept..])));
        let (kept, rest) = ids.split_at(kept.unwrap());
        let (before, rest) = ([&[BEGIN], kept].concat(), toy.vocab.decode(rest));
        let row = values(&bytes.open(&[Prompt::from(prompt)]).unwrap().1).remove(0);
        let all = toy.begins_with(7, &before, &[], &rest, true);
        for letter in LETTERS {
            let longer = toy.begins_with(7, &before, &[], &[&rest[..], &[*letter]].concat(), true);
            let (got, expected) = (f64::from(row[usize::from(*letter)]), (longer / all).ln());
            assert!((got - expected).abs() < 1e-5, "{prompt:?}, {letter}: {got}, expected {expected}");
        }
    }
    // Without a special token before it, the first token is kept: "ab" is one.
    let row = values(&bytes.open(&[Prompt::Chat(vec![Message::new("user", "ab")])]).unwrap().1).remove(0);
    let first = toy.bpe.encode(b"ab").unwrap();
    let expected = toy.is(7, &first, &[], b"", true).ln();
    assert!((f64::from(row[END as usize]) - expected).abs() < 1e-5);
}

#[test]
fn the_setting_is_named_where_it_helps() {
    let model = eft_core::from_fn(Host, toy().vocab.clone(), |_| Ok(vec![0.0; 3]));
    let refused = model.bytes().unwrap_err();
    assert!(refused.to_string().contains("ByteSettings::covering"), "{refused}");
    for settings in [all(-0.1), all(1.0), all(f64::NAN), all(0.1).prune(0.1)] {
        let refused = toy().model(1).bytes_with(settings);
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })));
    }
}

#[test]
fn bytes_without_a_token_are_an_error_and_unsound_scores_reach_the_row() {
    let bytes = toy().model(7).bytes_with(all(0.1)).unwrap();
    for refused in [bytes.score("ab", &bytes::tokens("xa")), bytes.score(bytes::tokens("x"), &[97])] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Unsupported { .. }) && refused.to_string().contains("0x78"),
            "{refused}"
        );
    }
    // Not a number after three tokens, so after some sequences of these texts.
    let toy = toy();
    let inner = toy.clone();
    let model = eft_core::from_fn(Host, toy.vocab.clone(), move |tokens| {
        let mut row = inner.logits(7, tokens);
        if tokens.len() == 4 {
            row[SPECIAL as usize] = f32::NAN;
        }
        Ok(row)
    });
    let bytes = model.rendered_by(toy).unwrap().bytes_with(all(0.0)).unwrap();
    let refused = bytes.score("", &bytes::tokens("abcab")).unwrap_err();
    assert!(matches!(refused, Error::BadScores { .. }), "{refused}");
    assert!(bytes.score("", &bytes::tokens("ab")).is_ok());
}
