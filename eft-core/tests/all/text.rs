//! Text as it is generated: whole characters without stop strings, whatever the tokens are.
use std::sync::Arc;

use eft_core::decode::{Detokenizer, Event, FinishReason, Finished, Request, Text, TextBatch, TextEvent};
use eft_core::error::with_sources;
use eft_core::{Decoding, Error, Host, Result, Sampling, Source, Token, TokenId, Vocab, from_fn};
use proptest::prelude::*;

/// All single bytes, then some longer tokens, the last two special.
const LONGER: [&[u8]; 7] =
    [b"ab", b"ba\n", "é".as_bytes(), "—a".as_bytes(), b"\x80\xE2\x82", b"<end>", b"<pad>"];

fn vocab() -> Vocab {
    let tokens = (0..=255u8).map(|b| vec![b]).chain(LONGER.map(<[u8]>::to_vec));
    Vocab::new("bytes", tokens).unwrap().with_eos([261]).unwrap().with_special([262]).unwrap()
}

/// A model that writes these ids, one after another, and ends.
fn parrot(ids: &[TokenId]) -> Source<Host> {
    let ids: Arc<[TokenId]> = ids.into();
    from_fn(Host, vocab(), move |tokens| {
        let next = ids.get(tokens.len() - 1).copied().unwrap_or(261);
        Ok((0..263).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    })
}

fn unlimited() -> Decoding {
    Decoding::from(Sampling::greedy()).unlimited()
}

fn ids() -> impl Strategy<Value = Vec<TokenId>> {
    let id = prop_oneof![
        2 => 97u32..100,
        2 => 256u32..263,
        1 => prop::sample::select(vec![0x80, 0xC3, 0xA9, 0xE2, 0xF0, 0x9F, 0x98, 0xFF, 0xED, 0xA0]),
    ];
    prop::collection::vec(id, 0..24)
}

fn whole(ids: &[TokenId]) -> String {
    String::from_utf8_lossy(&vocab().decode(ids)).into_owned()
}

/// The reference: a text ends at the first character that completes a stop string.
fn stopped(text: &str, stops: &[String]) -> (String, Option<usize>) {
    for (at, c) in text.char_indices() {
        let so_far = &text[..at + c.len_utf8()];
        let longest = (0..stops.len()).filter(|i| so_far.ends_with(&stops[*i]));
        if let Some(index) = longest.max_by_key(|i| (stops[*i].len(), std::cmp::Reverse(*i))) {
            return (so_far[..so_far.len() - stops[index].len()].into(), Some(index));
        }
    }
    (text.into(), None)
}

proptest! {
    #[test]
    fn pieces_are_the_whole(ids in ids()) {
        let mut detokenizer = Detokenizer::new(Arc::new(vocab()));
        let mut text: String = ids.iter().map(|id| detokenizer.push(*id)).collect();
        text.push_str(&detokenizer.finish());
        prop_assert_eq!(text, whole(&ids));
    }

    #[test]
    fn texts_end_before_the_first_stop_string(
        ids in ids(),
        stops in prop::collection::vec("[abc\u{e9}\u{fffd}]{1,3}", 0..4),
    ) {
        // The token that ends a text is not part of it.
        let ids: Vec<_> = ids.into_iter().filter(|id| *id != 261).collect();
        let (expected, stop) = stopped(&whole(&ids), &stops);
        let source = parrot(&ids);

        let text = source.generate([0], unlimited())?.text()?;
        let mut text = stops.iter().try_fold(text, |text, stop| text.until(stop))?;
        let pieces = text.by_ref().collect::<Result<Vec<_>>>()?;
        let reason = text.finished().map(|f| f.reason.clone());
        let joined: String = pieces.iter().map(|piece| &piece.text[..]).collect();
        prop_assert_eq!(&joined, &expected);
        prop_assert_eq!(reason, Some(stop.map_or(FinishReason::EndOfSequence(261), FinishReason::StopString)));
        prop_assert!(pieces.iter().rev().skip(1).all(|piece| !piece.text.is_empty()));

        // Every token is reported once, in order.
        let tail = text.finished().map(|f| f.tail.clone()).unwrap_or_default();
        let reported: Vec<_> = pieces.iter().flat_map(|p| &p.tokens).chain(&tail).map(|t| t.id).collect();
        let written: Vec<_> = ids.iter().copied().chain([261]).collect();
        prop_assert!(written.starts_with(&reported), "{:?} {:?}", written, reported);
        prop_assert!(stop.is_some() || written == reported);

        // The same as a row of a batch of two.
        let batch = source.generate_batch([[0], [0]], unlimited())?.text()?;
        let batch = stops.iter().try_fold(batch, |text, stop| text.until(stop))?;
        let texts: Vec<_> = batch.read().into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(&texts, &[expected.clone(), expected]);

        // The same if the stop strings come with the requests.
        let request = stops.iter().fold(Request::new([0]), |request, stop| request.until(stop));
        let batch = source.generate_batch([request, [0].into()], unlimited())?.text()?;
        let own: Vec<_> = batch.read().into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(&own, &[texts[0].clone(), whole(&ids)]);

        // With the stop string, as a single text, a batch, a request, and by speculation.
        let kept = format!("{}{}", texts[0], stop.map_or("", |index| &stops[index]));
        let single = source.generate([0], unlimited())?.text()?.until_any(&stops)?.keep_stop(true);
        prop_assert_eq!(&single.collect::<Result<String>>()?, &kept);
        let batch = source.generate_batch([[0], [0]], unlimited())?.text()?.until_any(&stops)?.keep_stop(true);
        let read: Vec<_> = batch.read().into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(&read, &[kept.clone(), kept.clone()]);
        let request = Request::new([0]).until_any(&stops).keep_stop(true);
        let batch = source.generate_batch([request, [0].into()], unlimited())?.text()?;
        let own: Vec<_> = batch.read().into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(&own, &[kept.clone(), whole(&ids)]);
        let draft = parrot(&[97, 98, 99]).named("draft");
        let speculative = source.speculate().draft(&draft).block(3);
        let text = speculative.generate([0], unlimited())?.text()?.until_any(&stops)?;
        prop_assert_eq!(&text.collect::<Result<String>>()?, &texts[0]);
        let text = speculative.generate([0], unlimited())?.text()?.until_any(&stops)?.keep_stop(true);
        prop_assert_eq!(&text.collect::<Result<String>>()?, &kept);
    }
}

#[test]
fn a_stopped_row_leaves_the_batch() {
    let source = from_fn(Host, vocab(), |tokens| {
        // The first prompt repeats its own byte for ever, the second continues with increasing ones.
        let next = if tokens[0] == 97 { 97 } else { 97 + tokens.len() as u32 };
        Ok((0..263).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    });
    let mut batch = source.generate_batch([[97], [98]], unlimited().max_tokens(20)).unwrap().text().unwrap();
    batch = batch.until("def").unwrap();
    let mut ends = Vec::new();
    for event in batch.by_ref() {
        if let TextEvent::Finished { row, finished } = event.unwrap() {
            ends.push((row, finished.reason, finished.tail.len()));
        }
    }
    assert_eq!(ends, [(1, FinishReason::StopString(0), 3), (0, FinishReason::MaxTokens, 0)]);
    assert_eq!(batch.into_inner().into_evaluator().rows(), 1);
}

#[test]
fn a_retired_row_leaves_no_trace() {
    let source = parrot(&[97, 98, 99, 100]);
    let alone: Vec<_> = source.generate_batch([[0]], unlimited()).unwrap().map(Result::unwrap).collect();
    let mut batch = source.generate_batch([[0], [0]], unlimited()).unwrap();
    let first = batch.next().unwrap().unwrap();
    batch.retire(1).unwrap();
    batch.retire(7).unwrap();
    let rest: Vec<_> = std::iter::once(first).chain(batch.by_ref().map(Result::unwrap)).collect();
    assert_eq!(format!("{rest:?}"), format!("{alone:?}"));
    let mut none = source.generate_batch([[0]], unlimited()).unwrap();
    none.retire(0).unwrap();
    assert!(none.next().is_none());
}

#[test]
fn any_iterator_of_tokens_becomes_text() {
    let vocab = Arc::new(vocab());
    let tokens = || -> Vec<Result<Token>> { parrot(&[97, 98]).generate([0], unlimited()).unwrap().collect() };
    let text = Text::new(tokens().into_iter(), vocab.clone()).unwrap();
    let text: String = text.collect::<Result<_>>().unwrap();
    assert_eq!(text, "ab");

    let finished = Finished { reason: FinishReason::MaxTokens, tail: Vec::new() };
    let events = tokens().into_iter().map(|token| token.map(|token| Event::Token { row: 1, token }));
    let events = events.chain([Ok(Event::Finished { row: 1, finished })]);
    // Rows that were not announced are taken, too.
    let texts = TextBatch::new(events, vocab, 1).unwrap().until("b").unwrap().read();
    assert_eq!(texts.into_iter().map(Result::unwrap).collect::<Vec<_>>(), ["", "a"]);
}

#[test]
fn what_cannot_be_text_is_an_error_of_the_call() {
    let anonymous = from_fn(Host, Vocab::anonymous("sizes only", 3).unwrap(), |_| Ok(vec![0.0, 1.0, 0.0]));
    let error = anonymous.generate([0], Sampling::greedy()).unwrap().text().unwrap_err();
    assert!(
        matches!(error, Error::Unsupported { .. }) && error.to_string().contains("sizes only"),
        "{error}"
    );
    assert!(anonymous.generate_batch([[0]], Sampling::greedy()).unwrap().text().is_err());

    let source = parrot(&[97]);
    let until = |error: Error| matches!(error, Error::InvalidParameter { name: "until", .. });
    assert!(until(source.generate([0], unlimited()).unwrap().text().unwrap().until("").unwrap_err()));
    let batch = || source.generate_batch([[0]], unlimited()).unwrap().text().unwrap();
    assert!(until(batch().until("").unwrap_err()));
    let request = Request::new([0]).until("");
    assert!(until(source.generate_batch([request], unlimited()).map(drop).unwrap_err()));
}

/// Fails if a text that begins with this token is longer than three tokens; ends other texts after two.
fn fails_after(first: TokenId) -> Source<Host> {
    from_fn(Host, vocab(), move |tokens: &[TokenId]| {
        if tokens[0] == first && tokens.len() > 3 {
            return Err(Error::source("it", "on purpose"));
        }
        let next = if tokens[0] != first && tokens.len() > 2 { 261 } else { 97 };
        Ok((0..263).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    })
}

#[test]
fn an_error_ends_the_text() {
    let mut text = fails_after(98).generate([98], unlimited()).unwrap().text().unwrap();
    let items: Vec<_> = text.by_ref().collect();
    assert!(matches!(items.last(), Some(Err(_))) && text.next().is_none());
}

#[test]
fn texts_that_have_ended_survive_the_error_of_another_row() {
    let batch = fails_after(98).generate_batch([[97], [98], [99]], unlimited()).unwrap().text().unwrap();
    let texts = batch.read();
    assert_eq!((texts[0].as_ref().unwrap(), texts[2].as_ref().unwrap()), (&"aa".into(), &"aa".into()));
    let error = texts[1].as_ref().unwrap_err();
    let error = with_sources(&**error);
    assert!(error.contains("on purpose"), "{error}");
}

#[test]
fn a_prompt_that_is_refused_does_not_fail_the_other_rows() {
    let batch = parrot(&[97, 98]).generate_batch([vec![0], vec![], vec![0]], unlimited()).unwrap();
    let texts = batch.text().unwrap().read();
    assert_eq!((texts[0].as_ref().unwrap(), texts[2].as_ref().unwrap()), (&"ab".into(), &"ab".into()));
    assert!(matches!(**texts[1].as_ref().unwrap_err(), Error::EmptyPrompt { row: 1, .. }));
}
