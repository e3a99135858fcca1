//! Models over the vocabulary of another: the same texts as over their own where tokens are shared, and what is lost.
use std::sync::Arc;

use crate::common::*;
use eft_core::conformance::{FaultInjector, FaultyBackend, SourceTest, check_source};
use eft_core::error::with_sources;
use eft_core::token_map::TokenMap;
use eft_core::{
    Backend, Decoding, Error, Form, Host, LogitSource, RowFeed, Sampling, Session, Source, TokenId, Vocab,
    combine, from_fn,
};
use proptest::prelude::*;

/// The letters of `vocab` in another order, which the model `own` was trained with; it has two more tokens.
const ORDER: &[u8] = b"cZahbYkdjgfie";

/// The id in `ORDER` of a token of `vocab`.
fn own(token: TokenId) -> usize {
    ORDER.iter().position(|byte| *byte == b'a' + token as u8).unwrap()
}

fn other_vocab() -> Vocab {
    let end = ORDER.iter().position(|byte| *byte == b'k').unwrap() as TokenId;
    Vocab::new("other", ORDER.iter().map(|byte| vec![*byte])).unwrap().with_eos([end]).unwrap()
}

/// The logits of the model in the order of its own ids.
fn shuffled(tokens: &[TokenId]) -> Vec<f32> {
    logits(5, tokens, ORDER.len())
}

fn other<B: Backend>(backend: B) -> Source<B> {
    from_fn(backend, other_vocab(), |tokens| Ok(shuffled(tokens)))
}

fn target() -> Arc<Vocab> {
    Arc::new(vocab("target"))
}

/// The log-probs of the tokens of `vocab`, normalised over them, and the probability that the model gives to all of them;
/// computed from its logits in f64.
fn expected(tokens: &[TokenId]) -> (Vec<f64>, f64) {
    let row = shuffled(&tokens.iter().map(|token| own(*token) as TokenId).collect::<Vec<_>>());
    let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
    let known: Vec<_> = (0..WIDTH as TokenId).map(|id| f64::from(row[own(id)])).collect();
    let known_sum: f64 = known.iter().map(|x| x.exp()).sum();
    (known.iter().map(|x| x - known_sum.ln()).collect(), known_sum / sum)
}

#[test]
fn scores_are_the_log_probs_of_the_same_tokens() {
    let mapped = other(Host).over_vocab(&target()).unwrap();
    let (mut session, first) = mapped.open(&[[0, 3].into(), [9].into()]).unwrap();
    assert_eq!((first.form(), first.width()), (Form::Partial, WIDTH));
    let scores = session.extend(&[RowFeed::all(vec![4, 10]), RowFeed::last(vec![1, 2])]).unwrap();
    let texts: [&[TokenId]; 3] = [&[0, 3, 4], &[0, 3, 4, 10], &[9, 1, 2]];
    let positions = [scores.positions(0), scores.positions(1)].concat();
    for (text, row) in texts.iter().zip(&positions) {
        let (log_probs, _) = expected(text);
        for (got, expected) in Host.download(&[*row], WIDTH).unwrap().iter().zip(log_probs) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{text:?}: {got}, {expected}");
        }
    }
    let (_, mass) = expected(&[9, 1, 2]);
    assert!((f64::from(scores.known_mass(1).unwrap()) - mass).abs() < 1e-5);
}

#[test]
fn a_mapped_source_obeys_the_laws() {
    let test = SourceTest::new([vec![1, 2], vec![3], vec![0, 4, 5]]);
    check_source(&other(Host).over_vocab(&target()).unwrap(), &test).unwrap();
    // Failures of the mapping itself are undone, or poison the session.
    let faults = FaultInjector::new();
    let mapped = other(FaultyBackend::new(Host, &faults)).over_vocab(&target()).unwrap();
    check_source(&mapped, &test.steps(10).walks(1).faults(&faults)).unwrap();
}

#[test]
fn texts_are_those_of_the_same_model_over_its_own_vocabulary() {
    // The same model with nothing but other ids, and without the two tokens that only it has.
    let same = from_fn(Host, vocab("same"), |tokens| {
        let row = shuffled(&tokens.iter().map(|token| own(*token) as TokenId).collect::<Vec<_>>());
        Ok((0..WIDTH as TokenId).map(|id| row[own(id)]).collect())
    });
    let (mapped, large) = (other(Host).over_vocab(&target()).unwrap(), model("large", 1));
    for sampling in [Sampling::greedy(), Sampling::default().seed(3)] {
        let text = |source: &Source<Host>| -> Vec<_> {
            let texts = source.generate([1, 2], endless(sampling)).unwrap();
            texts.map(|token| token.unwrap().id).collect()
        };
        let plain = text(&(&large + 0.5 * &same));
        assert_eq!(text(&(&large + 0.5 * &mapped)), plain);
        let drafted = (&large + 0.5 * &mapped).speculate().draft(&mapped).generate([1, 2], endless(sampling));
        if sampling == Sampling::greedy() {
            assert_eq!(drafted.unwrap().map(|token| token.unwrap().id).collect::<Vec<_>>(), plain);
        }
    }
}

#[test]
fn what_only_one_vocabulary_has_is_excluded_and_reported() {
    // "Z" has nearly all of the probability, and the target has no such token.
    let loud =
        from_fn(Host, other_vocab(), |_| Ok((0..13).map(|id| if id == 1 { 5.0 } else { 0.0 }).collect()));
    let mapped = loud.over_vocab(&target()).unwrap();
    let token =
        (model("large", 1) + mapped).generate([1], Sampling::greedy()).unwrap().next().unwrap().unwrap();
    let known = 11.0 / (12.0 + 5f32.exp());
    assert!((token.known_mass.unwrap() - known).abs() < 1e-5, "{:?}", token.known_mass);

    // A token that only the target has is excluded from the sum.
    let wide = Arc::new(Vocab::new("wide", [&b"b"[..], b"a", b"only here"]).unwrap());
    let here = from_fn(Host, (*wide).clone(), |_| Ok(vec![0.0, 0.1, 9.0]));
    let sum = here + model("small", 2).over_vocab(&wide).unwrap();
    let picked = sum.generate([0], Sampling::greedy()).unwrap().next().unwrap().unwrap();
    assert_ne!(picked.id, 2);
    let scores = combine::weighted([(1.0, &sum)]).unwrap().score([0], &[2]).unwrap();
    assert_eq!(scores.total, f64::NEG_INFINITY);
}

#[test]
fn a_black_box_stays_one() {
    let top = eft_core::from_top(Host, other_vocab(), |_| Ok(vec![(0, 0.5f32.ln()), (1, 0.2f32.ln())]));
    let mapped = top.over_vocab(&target()).unwrap();
    let (_, scores) = mapped.open(&[[1].into()]).unwrap();
    let row = Host.download(&scores.last().unwrap(), WIDTH).unwrap();
    assert_eq!(row.iter().filter(|x| x.is_finite()).count(), 1);
    assert!((scores.known_mass(0).unwrap() - 0.5).abs() < 1e-6);
}

#[test]
fn tokens_without_a_counterpart_are_spelled_in_prompts_and_named_elsewhere() {
    let own = Vocab::new("own", ["a", "b", "ab", "<s>"]).unwrap().with_special([3]).unwrap();
    // The model returns what it was fed.
    let echo = from_fn(Host, own, |tokens| {
        let code = tokens.iter().fold(0, |code, token| 10 * code + token + 1);
        Ok(vec![0.0, code as f32 / 1000.0, 0.0, 0.0])
    });
    let read = |source: &Source<Host>, prompt: Vec<TokenId>| {
        let (_, scores) = source.open(&[prompt.into()])?;
        let row = Host.download(&scores.last()?, 2)?;
        Ok::<_, Error>(((row[0] - row[1]) * 1000.0).round())
    };
    let vocab = Vocab::new("outer", ["b", "a", "abba", "<user>", "q"]).unwrap().with_special([3]).unwrap();
    let mapped = echo.over_vocab(&Arc::new(vocab)).unwrap();
    // "b", then "abba" as "ab", "b", "a".
    assert_eq!(read(&mapped, vec![0, 2]).unwrap(), 2321.0);
    for (prompt, named) in [(vec![1, 3], "special \"<user>\""), (vec![4, 1], "\"q\"")] {
        let error = with_sources(&read(&mapped, prompt).unwrap_err());
        assert!(error.contains(named) && error.contains("`outer`") && error.contains("`own`"), "{error}");
    }
    let (mut session, _) = mapped.open(&[[1].into()]).unwrap();
    let error = session.extend(&[RowFeed::one(2)]).unwrap_err();
    assert!(matches!(&error, Error::BadVocab { reason, .. } if reason.contains("\"abba\"")), "{error}");
    assert!(session.extend(&[RowFeed::one(0)]).is_ok());
    assert!(matches!(mapped.open(&[[9].into()]), Err(Error::TokenOutOfRange { token: 9, limit: 5, .. })));
}

#[test]
fn vocabularies_without_a_common_token_are_refused() {
    let numbers = Arc::new(Vocab::new("numbers", ["1", "2"]).unwrap());
    let anonymous = Arc::new(Vocab::anonymous("unknown", WIDTH).unwrap());
    for vocab in [numbers, anonymous] {
        let error = model("model", 1).over_vocab(&vocab).map(drop).unwrap_err();
        assert!(matches!(&error, Error::BadVocab { reason, .. } if reason.contains(vocab.name())), "{error}");
    }
}

proptest! {
    #[test]
    fn counterparts_stand_for_the_same_and_no_token_has_two(
        from in prop::collection::vec("[ab]{1,2}", 1..9),
        to in prop::collection::vec("[ab]{1,2}", 1..9),
        special in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let vocab = |name: &str, tokens: &[String]| {
            let special = special.iter().map(|index| index.index(tokens.len()) as TokenId);
            Vocab::new(name, tokens.to_vec()).unwrap().with_special(special).unwrap()
        };
        let (from, to) = (vocab("from", &from), vocab("to", &to));
        let map = TokenMap::new(&from, &to);
        let mut seen = vec![];
        for (here, there) in map.iter() {
            prop_assert_eq!(map.get(here), Some(there));
            prop_assert_eq!(from.bytes(here), to.bytes(there));
            prop_assert_eq!(from.is_special(here), to.is_special(there));
            prop_assert!(!seen.contains(&there));
            seen.push(there);
        }
        prop_assert_eq!(map.len(), seen.len());
        // A token is left out only if another has its first counterpart.
        for here in (0..from.real() as TokenId).filter(|id| map.get(*id).is_none()) {
            let same = |id: &TokenId| from.bytes(here) == to.bytes(*id) && from.is_special(here) == to.is_special(*id);
            let rival = (0..to.real() as TokenId).find(same);
            prop_assert!(rival.is_none_or(|id| seen.contains(&id)), "{here}");
        }
    }
}

#[test]
fn the_end_of_a_text_is_the_same_whatever_it_is_called() {
    let ends = |name: &str, end: &str| Vocab::new(name, ["a", end]).unwrap().with_eos([1]).unwrap();
    assert_eq!(TokenMap::new(&ends("one", "</s>"), &ends("two", "<end>")).get(1), Some(1));
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(5);
    let ending = from_fn(Host, ends("two", "<end>"), |_| Ok(vec![0.0, 1.0]));
    let mapped = ending.over_vocab(&Arc::new(ends("one", "</s>"))).unwrap();
    assert_eq!(mapped.generate([0], decoding).unwrap().count(), 0);
}
