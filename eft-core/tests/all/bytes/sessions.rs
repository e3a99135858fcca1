//! The laws of sources, and what they cost.
use eft_core::bytes::{self, ByteSettings, END, Work};
use eft_core::conformance::{FaultInjector, FaultyBackend, SourceTest, check_source};
use eft_core::{Decoding, Error, LogitSource, RowFeed, Sampling, bridge};

use super::*;

pub(super) fn prompts() -> Vec<Prompt> {
    ["", "ab", "abca b"].map(Prompt::from).to_vec()
}

#[test]
fn a_source_over_bytes_obeys_the_laws_of_sources() {
    let symbols = || letters().into_iter().chain([END]);
    let bytes = toy().model(3).bytes().unwrap();
    check_source(&bytes, &SourceTest::new(prompts()).tokens(symbols())).unwrap();
    let combined = &bytes
        + 0.5 * (Toy::new(&[(2, 2), (3, 0)]).model(4).bytes().unwrap() - toy().model(5).bytes().unwrap());
    check_source(&combined, &SourceTest::new(prompts()).tokens(symbols()).walks(1)).unwrap();
    // Prompts as bytes, after the token that ends a text.
    let ids = [vec![END], [&[END][..], &bytes::tokens("ab ca")].concat()];
    check_source(&bytes, &SourceTest::new(ids).tokens(symbols()).walks(1)).unwrap();
}

/// A call of a source over bytes that fails changes nothing, or the session refuses further calls.
pub(super) fn check_failures(settings: ByteSettings) {
    let injector = FaultInjector::default();
    let toy = toy();
    let spec = EngineSpec::new("toy", FaultyBackend::new(Host, &injector), toy.vocab.clone());
    let (inner, steps) = (toy.clone(), injector.clone());
    let engine = FnEngine::new(spec, move |row| {
        steps.step()?;
        Ok(inner.logits(3, &row.tokens))
    });
    let bytes = Source::new(engine).rendered_by(toy).unwrap().bytes_with(settings).unwrap();
    let test = SourceTest::new(prompts()).tokens(letters()).steps(6).walks(1).faults(&injector);
    check_source(&bytes, &test).unwrap();
}

#[test]
fn a_call_that_fails_changes_nothing() {
    check_failures(ByteSettings::default());
}

#[test]
fn a_text_can_be_as_long_as_the_context_has_tokens() {
    let toy = toy();
    let model = toy.model_of(EngineSpec::new("toy", Host, toy.vocab.clone()).context(12), 3);
    let bytes = model.bytes().unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    let refused = session.extend(&[RowFeed::last(bytes::tokens("abcabcabcabc"))]);
    assert!(matches!(refused, Err(Error::ContextFull { row: 0, room: 11, .. })));
    // "ab" is one token, so texts may have more bytes than the context has tokens.
    let mut fed = 0;
    while session.room()[0] > 0 {
        let byte = u32::from(b"ab"[fed % 2]);
        session.extend(&[RowFeed::one(byte)]).unwrap();
        fed += 1;
    }
    assert!(fed > 16, "{fed}");
    assert!(matches!(session.extend(&[RowFeed::one(97)]), Err(Error::ContextFull { .. })));
    let text = bytes.generate("", Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(200)).unwrap();
    assert!(text.map(Result::unwrap).count() > 11);
    let test = SourceTest::new(prompts()).tokens(letters()).walks(1).room_is_least();
    check_source(
        &toy.model_of(EngineSpec::new("toy", Host, toy.vocab.clone()).context(20), 3).bytes().unwrap(),
        &test,
    )
    .unwrap();
}

#[test]
fn pruned_rows_are_near_exact_ones_and_cost_less() {
    let toy = toy();
    let (exact_work, pruned_work) = (Work::default(), Work::default());
    let exact = toy.model(3).bytes_with(ByteSettings::default().count(&exact_work)).unwrap();
    for share in [0.01, 0.1, 0.3] {
        let pruned =
            toy.model(3).bytes_with(ByteSettings::default().prune(share).count(&pruned_work)).unwrap();
        let text = bytes::tokens("abcaab bca ab cc aa bcab");
        let rows = |source: &Source<Host>| {
            let (mut session, _) = source.open(&[Prompt::from("")]).unwrap();
            values(&session.extend(&[RowFeed::all(text.clone())]).unwrap())
        };
        for (exact, pruned) in rows(&exact).iter().zip(rows(&pruned)) {
            let distance =
                exact.iter().zip(&pruned).map(|(a, b)| f64::from(a.exp() - b.exp()).abs()).sum::<f64>() / 2.0;
            assert!(distance <= share + 1e-6, "{distance} with {share}");
        }
    }
    assert!(pruned_work.positions() < exact_work.positions(), "{pruned_work:?}, {exact_work:?}");
}

#[test]
fn pruned_sources_obey_the_laws_too() {
    let bytes = toy().model(3).bytes_with(ByteSettings::default().prune(0.05)).unwrap();
    check_source(&bytes, &SourceTest::new(prompts()).tokens(letters())).unwrap();
}

/// The rows of a text that grows byte by byte, with these settings, and the passes that they took.
fn grown(settings: ByteSettings) -> (Vec<Vec<f32>>, usize) {
    let work = Work::default();
    let bytes = toy().model(3).bytes_with(settings.count(&work)).unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    let extend = |byte| values(&session.extend(&[RowFeed::one(byte)]).unwrap()).remove(0);
    (bytes::tokens("abcaab bca ab cc aa bcab").into_iter().map(extend).collect(), work.passes())
}

#[test]
fn looking_ahead_saves_passes_and_changes_no_row() {
    for of in [ByteSettings::default(), ByteSettings::default().covering(0.05)] {
        let (rows, passes) = grown(of.clone().ahead(1.0));
        for probability in [0.5, 0.1, 0.02] {
            let (ahead, fewer) = grown(of.clone().ahead(probability));
            assert_eq!(ahead, rows, "{of:?} with {probability}");
            assert!(fewer <= passes, "{fewer} of {passes} passes, {of:?} with {probability}");
        }
        let fewest = grown(of.clone().ahead(0.02)).1;
        assert!(4 * fewest < 3 * passes, "{fewest} of {passes} passes, {of:?}");
    }
    // A row that is pruned may differ from another, but not by more than the share.
    let (exact, _) = grown(ByteSettings::default());
    let (pruned, _) = grown(ByteSettings::default().prune(0.1).ahead(0.02));
    for (exact, pruned) in exact.iter().zip(pruned) {
        let distance = exact.iter().zip(&pruned).map(|(a, b)| (a.exp() - b.exp()).abs()).sum::<f32>() / 2.0;
        assert!(distance <= 0.1 + 1e-6, "{distance}");
    }
    for refused in [0.0, -0.1, 1.1, f64::NAN] {
        let refused = toy().model(3).bytes_with(ByteSettings::default().ahead(refused));
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })));
    }
}

/// Texts that are drawn with these settings, of one model and of a sum, and the passes that they took. Sources over bytes are
/// replaced by those that `wrap` makes of them.
fn drawn(settings: ByteSettings, wrap: impl Fn(Source<Host>) -> Source<Host>) -> (Vec<Vec<TokenId>>, usize) {
    let work = Work::default();
    let bytes = |seed| wrap(toy().model(seed).bytes_with(settings.clone().count(&work)).unwrap());
    let sum = bytes(3) + 0.5 * (bytes(4) - bytes(5));
    let mut texts = Vec::new();
    for (source, seed) in [bytes(3), sum].iter().flat_map(|source| [1, 2, 3].map(|seed| (source, seed))) {
        let decoding = Decoding::from(Sampling::default().seed(seed)).max_tokens(24).stop_ids([]);
        for prompt in prompts() {
            let tokens = source.generate(prompt, &decoding).unwrap();
            texts.push(tokens.map(|token| token.unwrap().id).collect());
        }
    }
    (texts, work.passes())
}

#[test]
fn what_will_be_drawn_is_computed_ahead_and_changes_no_text() {
    let (texts, passes) = drawn(ByteSettings::default().ahead(1.0), |bytes| bytes);
    // No byte is as likely as that, so all that is computed ahead is due to the random numbers.
    let (ahead, fewer) = drawn(ByteSettings::default().ahead(0.99), |bytes| bytes);
    assert_eq!(ahead, texts);
    assert!(4 * fewer < 3 * passes, "{fewer} of {passes} passes");
    // Also where the source is wrapped.
    assert_eq!(drawn(ByteSettings::default().ahead(0.99), |bytes| bridge(bytes, Host)), (ahead, fewer));
}

#[test]
fn sources_that_look_far_ahead_obey_the_laws_too() {
    let bytes = toy().model(3).bytes_with(ByteSettings::default().ahead(0.01)).unwrap();
    check_source(&bytes, &SourceTest::new(prompts()).tokens(letters().into_iter().chain([END]))).unwrap();
    check_failures(ByteSettings::default().ahead(0.01));
}

#[test]
fn what_was_rolled_back_is_found_again() {
    let work = Work::default();
    let bytes = toy().model(3).bytes_with(ByteSettings::default().count(&work)).unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    let text = bytes::tokens("abcaab");
    let first = values(&session.extend(&[RowFeed::all(text.clone())]).unwrap());
    let passes = work.passes();
    session.rollback(&[4]).unwrap();
    let again = values(&session.extend(&[RowFeed::all(text[2..].to_vec())]).unwrap());
    assert_eq!((&again[..], work.passes()), (&first[first.len() - again.len()..], passes));
}

#[test]
fn the_model_runs_only_where_it_must() {
    let work = Work::default();
    let bytes = toy().model(3).bytes_with(ByteSettings::default().count(&work)).unwrap();
    let (mut session, _) = bytes.open(&[Prompt::from("")]).unwrap();
    session.extend(&[RowFeed { tokens: bytes::tokens("abc abc abc"), wanted: 0 }]).unwrap();
    assert_eq!(work.passes(), 0);
    session.rollback(&[3]).unwrap();
    session.extend(&[RowFeed::last(bytes::tokens("abc"))]).unwrap();
    let tokens = toy().bpe.encode(b"abc abc abc").unwrap().len();
    assert!(work.positions() <= 2 * tokens + 2 && work.passes() <= 2, "{work:?}");
}
