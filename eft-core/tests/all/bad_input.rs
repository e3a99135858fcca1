//! Bad input: each kind returns its own error, which names the fault, and the session stays usable.

use crate::common::*;
use eft_core::decode::{Event, FinishReason};
use eft_core::sample::{History, LogitBias, Processor, RepetitionPenalty};
use eft_core::{
    Backend, Decoding, Edit, EngineSpec, Error, Evaluator, FnEngine, Form, Host, LogitSource, Opened, Prompt,
    PromptTransform, Result, RowFeed, Sampler, Sampling, Scores, Session, Source, TokenId, Vocab, combine,
    from_fn, from_top,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn prompts_are_checked_before_anything_runs() {
    let (large, counts) = counted("large", 1, &[]);
    let small = short_model("small", 2, 4);
    let sum = &large + &small;
    let open = |prompts: &[Prompt]| sum.open(prompts).map(drop).unwrap_err();
    assert!(matches!(open(&[]), Error::EmptyBatch { .. }));
    assert!(matches!(open(&[[1].into(), [].into()]), Error::EmptyPrompt { row: 1, .. }));
    let past = WIDTH as TokenId;
    match open(&[[1].into(), [1, past].into()]) {
        Error::TokenOutOfRange { term, row: 1, token, limit: WIDTH } => {
            assert_eq!((&term[..], token), ("large", past))
        }
        error => panic!("{error}"),
    }
    match open(&[[1].into(), [1, 2, 3, 4, 5].into()]) {
        Error::ContextFull { term, row: 1, asked: 5, room: 4 } => assert_eq!(term, "small"),
        error => panic!("{error}"),
    }
    match open(&["text".into()]) {
        Error::CannotRender { term, what: "text", .. } => assert_eq!(term, "large"),
        error => panic!("{error}"),
    }
    assert_eq!(counts.take(), (0, 0), "nothing ran");
    assert!(large.adapter("none").is_err() && sum.adapter("none").is_err());
}

#[test]
fn a_context_that_overflows_in_a_batch_fails_the_call_and_nothing_else() {
    let source = model("large", 1) + short_model("small", 2, 6);
    let prompts = [vec![0].into(), vec![1, 2, 3, 4].into()];
    let (mut session, _) = source.open(&prompts).unwrap();
    assert_eq!(session.room(), [5, 2]);
    let feed = |tokens: Vec<TokenId>| vec![RowFeed::all(tokens.clone()), RowFeed::all(tokens)];
    match session.extend(&feed(vec![5, 6, 7])) {
        Err(Error::ContextFull { row: 1, asked: 3, room: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    let scores = session.extend(&feed(vec![5, 6])).unwrap();
    assert_near(&values(&scores)[3], &scores_after(&source, &[1, 2, 3, 4], &[5, 6]), 0.0);

    // Generation ends the row instead.
    let batch = source.generate_batch(prompts, endless(Sampling::greedy())).unwrap();
    let mut finished = Vec::new();
    let mut tokens = [0, 0];
    for event in batch {
        match event.unwrap() {
            Event::Token { row, .. } => tokens[row] += 1,
            Event::Finished { row, finished: end } => finished.push((row, end.reason)),
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    // The last token need not be fed, so one more than there is room for.
    assert_eq!(tokens, [6, 3]);
    assert_eq!(finished, [(1, FinishReason::ContextFull), (0, FinishReason::ContextFull)]);
}

#[test]
fn evaluators_refuse_rows_positions_and_roots_out_of_range() {
    let source = model("m", 1);
    let mut evaluator = Evaluator::open(&[&source], &[[1].into(), [2].into()]).unwrap();
    evaluator.push(&[vec![3, 4], vec![]]).unwrap();
    assert!(matches!(evaluator.rollback(&[0, 1]), Err(Error::RollbackTooFar { row: 1, asked: 1, limit: 0 })));
    assert!(matches!(evaluator.rollback(&[1]), Err(Error::Shape { .. })));
    assert!(matches!(evaluator.eval(1, &[0..1, 0..1]), Err(Error::Unknown { kind: "root", .. })));
    assert!(matches!(evaluator.eval(0, &[0..4, 0..1]), Err(Error::Shape { .. })));
    assert!(matches!(
        evaluator.push(&[vec![], vec![99]]),
        Err(Error::TokenOutOfRange { row: 1, token: 99, .. })
    ));
    assert!(matches!(evaluator.select(&[2]), Err(Error::RowOutOfRange { row: 2, rows: 2, .. })));
    evaluator.eval(0, &[2..3, 0..1]).unwrap();
    evaluator.commit();
    // Forgotten scores are computed again, also those that follow the prompt itself.
    assert_eq!(values(&evaluator.eval(0, &[1..2, 0..0]).unwrap())[0], scores_after(&source, &[1], &[3]));
    assert_eq!(values(&evaluator.eval(0, &[0..1, 0..0]).unwrap())[0], scores_after(&source, &[1], &[]));
    assert_eq!(values(&evaluator.eval(0, &[2..3, 0..1]).unwrap())[0], scores_after(&source, &[1], &[3, 4]));
    assert!(Evaluator::<Host>::open(&[], &[[1].into()]).is_err());
}

#[test]
fn weights_and_parameters_are_checked() {
    let (a, b) = (model("a", 1), model("b", 2));
    for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let sum = &a + weight * &b;
        match sum.open(&[[1].into()]).map(drop) {
            Err(Error::InvalidWeight { term, .. }) => assert_eq!(term, "b"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(sum.check(), Err(Error::InvalidWeight { .. })));
        assert!(combine::mixture([(weight, &a), (1.0, &b)]).is_err());
        assert!(combine::power_mean([(1.0, &a)], weight).is_err());
        assert!(combine::nucleus_delta(&a, &b, &b, weight, 0.9).is_err());
        assert!(combine::plausibility(&a, &b, weight).is_err() && combine::gate(&a, &b, weight).is_err());
    }
    // Finite factors whose product is infinite.
    assert!(matches!((f32::MAX * (f32::MAX * &a)).open(&[[1].into()]), Err(Error::InvalidWeight { .. })));
    for nothing in [&a - &a, 0.0 * &a, &a + &b - &b - &a] {
        match nothing.open(&[[1].into()]).map(drop) {
            Err(Error::NothingLeft { combination }) => assert_eq!(combination, nothing.to_string()),
            other => panic!("{other:?}"),
        }
    }
    assert!(combine::nucleus_delta(&a, &b, &b, 1.0, 0.0).is_err());
    assert!(combine::mixture([(0.5, &a), (0.6, &b)]).is_err() && combine::mixture::<Host>([]).is_err());
    assert!(combine::weighted::<Host>([]).is_err() && combine::union::<Host>([]).is_err());
    assert!(combine::arithmetic(&(&a - &b)).is_err() && combine::arithmetic(&-&a).is_err());
    assert!(combine::product_of_experts([(1.0, &a), (-1.0, &b)]).is_err());

    let settings = [
        ("temperature", Sampling::default().temperature(-1.0)),
        ("temperature", Sampling::default().temperature(f32::INFINITY)),
        ("top_k", Sampling::default().top_k(0)),
        ("top_p", Sampling::default().top_p(0.0)),
        ("top_p", Sampling::greedy().top_p(f32::NAN)),
        ("min_p", Sampling::default().min_p(1.1)),
    ];
    for (setting, sampling) in settings {
        match a.generate([1], sampling).map(drop) {
            Err(Error::InvalidParameter { name, .. }) => assert_eq!(name, setting),
            other => panic!("{other:?}"),
        }
    }
    assert!(a.generate([1], Decoding::default().stop_sequence([])).is_err());
    assert!(RepetitionPenalty::new(0.0).is_err() && LogitBias::new([(0, f32::NAN)]).is_err());
}

/// A processor as a careless user might write it.
struct Careless(Edit);

impl Processor for Careless {
    fn edits(&self, _: &History<'_>) -> Result<Vec<Edit>> {
        Ok(vec![self.0.clone()])
    }
}

#[test]
fn careless_processors_are_refused() {
    let edits = [
        Edit::Bias(vec![(WIDTH as TokenId, 1.0)]),
        Edit::Bias(vec![(0, f32::NAN)]),
        Edit::Bias(vec![(0, f32::INFINITY)]),
        Edit::Repetition { tokens: vec![99], penalty: 1.0 },
        Edit::Repetition { tokens: vec![0], penalty: -1.0 },
    ];
    for edit in edits {
        let decoding = Decoding::default().processor(Careless(edit));
        let result = model("m", 1).generate([1], decoding).unwrap().next().unwrap();
        assert!(
            matches!(
                result,
                Err(Error::EditOutOfRange { row: 0, position: 0, .. } | Error::InvalidParameter { .. })
            ),
            "{result:?}"
        );
    }
    let unknown =
        Decoding::default().processor(RepetitionPenalty::new(1.2).unwrap().with_prompt_of("nobody"));
    match model("m", 1).generate([1], unknown).map(drop) {
        Err(Error::Unknown { name, known, .. }) => assert_eq!((&name[..], &known[..]), ("nobody", "m")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_shapes_name_the_source() {
    let narrow = from_fn(Host, vocab("narrow"), |_| Ok(vec![0.0; WIDTH - 1]));
    let error = (model("good", 1) + narrow).open(&[[1].into()]).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Shape { .. }) && error.to_string().contains("narrow"), "{error}");

    /// A source whose tensor has another number of rows than prompts.
    struct Liar(Arc<Vocab>, usize);
    impl LogitSource for Liar {
        type Backend = Host;
        fn backend(&self) -> &Host {
            &Host
        }
        fn vocab(&self) -> &Arc<Vocab> {
            &self.0
        }
        fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
            let (session, _) = model("m", 1).open(prompts)?;
            let tensor = Host.upload(&vec![0.0; self.1 * WIDTH], WIDTH)?;
            let spans = (0..prompts.len()).map(|i| i..i + 1).collect();
            Ok((session, Scores::new(tensor, spans, WIDTH, Form::Logits)))
        }
    }
    let liar = Source::opaque(Liar(vocab("liar").into(), 1));
    assert!(liar.open(&[[1].into()]).is_ok());
    let error = liar.open(&[[1].into(), [2].into()]).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Shape { .. }) && error.to_string().contains("liar"), "{error}");
}

#[test]
fn a_model_that_fails_once_can_be_asked_again() {
    let fails = Arc::new(AtomicBool::new(false));
    let flag = fails.clone();
    let flaky = from_fn(Host, vocab("flaky"), move |tokens| match flag.load(Ordering::SeqCst) {
        true => Err(Error::source("flaky", "out of memory")),
        false => Ok(logits(5, tokens, WIDTH)),
    });
    let sum = model("good", 1) + &flaky;
    let (mut session, _) = sum.open(&[[1].into()]).unwrap();
    session.extend(&[RowFeed::one(2)]).unwrap();
    fails.store(true, Ordering::SeqCst);
    let error = session.extend(&[RowFeed::all(vec![3, 4])]).unwrap_err();
    assert_eq!(eft_core::error::with_sources(&error), "`flaky` failed: out of memory");
    fails.store(false, Ordering::SeqCst);
    // The failed call changed nothing, although one of the models had already taken its tokens.
    let scores = session.extend(&[RowFeed::one(5)]).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&sum, &[1], &[2, 5]));
}

#[test]
fn a_session_that_cannot_undo_is_poisoned_and_can_be_reopened() {
    /// A session that fails to roll back.
    struct Stuck(Box<dyn Session<Backend = Host>>);
    impl Session for Stuck {
        type Backend = Host;
        fn rollback_limit(&self) -> Vec<usize> {
            self.0.rollback_limit()
        }
        fn room(&self) -> Vec<usize> {
            self.0.room()
        }
        fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
            self.0.extend(feed)
        }
        fn rollback(&mut self, _: &[usize]) -> Result<()> {
            Err(Error::source("stuck", "no way back"))
        }
        fn select(&mut self, rows: &[usize]) -> Result<()> {
            self.0.select(rows)
        }
    }
    struct StuckSource(Source<Host>);
    impl LogitSource for StuckSource {
        type Backend = Host;
        fn backend(&self) -> &Host {
            self.0.backend()
        }
        fn vocab(&self) -> &Arc<Vocab> {
            self.0.vocab()
        }
        fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
            let (session, scores) = self.0.open(prompts)?;
            Ok((Box::new(Stuck(session)), scores))
        }
    }
    let sum = model("good", 1) + Source::opaque(StuckSource(model("stuck", 2)));
    let (mut session, _) = sum.session(&[[1].into()]).unwrap();
    session.extend(&[RowFeed::one(2)]).unwrap();
    assert!(matches!(session.rollback(&[1]), Err(Error::Source { .. })));
    match session.extend(&[RowFeed::one(2)]) {
        Err(Error::Poisoned { cause }) => assert!(cause.contains("no way back"), "{cause}"),
        other => panic!("{other:?}"),
    }
    let scores = session.reopen(&[[1, 2].into()]).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&sum, &[1], &[2]));
}

#[test]
fn rules_that_need_whole_rows_refuse_partial_ones() {
    let black_box = from_top(Host, vocab("black box"), |_| Ok(vec![(1, -0.5), (2, -1.5)]));
    let error = combine::mixture([(0.5, &black_box), (0.5, &model("m", 1))]).unwrap().open(&[[1].into()]);
    match error.map(drop) {
        Err(Error::PartialRows { rule, term }) => {
            assert_eq!((&rule[..], &term[..]), ("mixture", "black box"))
        }
        other => panic!("{other:?}"),
    }
    let past = from_top(Host, vocab("black box"), |_| Ok(vec![(99, -0.5)]));
    assert!(matches!(past.open(&[[1].into()]), Err(Error::TokenOutOfRange { token: 99, .. })));
}

#[test]
fn samplers_refuse_other_batches() {
    let source = model("m", 1);
    let mut sampler = Sampler::new(Host, &Decoding::default(), 2).unwrap();
    let (_, scores) = source.open(&[[1].into()]).unwrap();
    assert!(matches!(sampler.sample(&scores), Err(Error::Shape { .. })));
    assert!(matches!(sampler.next(&scores), Err(Error::Shape { .. })));
    assert!(matches!(sampler.rollback(&[1, 0]), Err(Error::RollbackTooFar { .. })));
    assert!(sampler.select(&[2]).is_err() && sampler.select(&[]).is_err() && sampler.rename(&[1]).is_err());
    let none = Scores::<Host>::none(2, WIDTH, Form::Logits);
    assert!(matches!(sampler.sample(&none), Err(Error::Shape { .. })));
}

#[test]
fn engines_refuse_adapters_they_do_not_have() {
    let (small, _) = counted("small", 1, &["helpful"]);
    match small.adapter("harmful").map(drop) {
        Err(Error::Unknown { name, known, .. }) => {
            assert_eq!((&name[..], &known[..]), ("harmful", "helpful"))
        }
        other => panic!("{other:?}"),
    }
    let spec = EngineSpec::new("m", Host, vocab("m"));
    let row = eft_core::EngineRow { adapter: Some(0), tokens: vec![1] };
    assert!(matches!(spec.check(&[row]), Err(Error::Unknown { .. })));
    let engine = FnEngine::new(spec, |_| Ok(vec![0.0; WIDTH]));
    assert!(eft_core::Engine::open(&engine, &[]).is_err());
}

#[test]
fn diagnosing_rows_and_roots_out_of_range_is_no_panic() {
    let evaluator = Evaluator::open(&[&model("m", 1)], &[[1].into()]).unwrap();
    assert!(matches!(evaluator.diagnose(9, 0, 0), Error::Unknown { kind: "root", .. }));
    assert!(matches!(evaluator.diagnose(0, 9, 0), Error::BadScores { row: 9, .. }));
    assert!(matches!(evaluator.diagnose(0, 0, 9), Error::BadScores { position: 9, .. }));
}

#[test]
fn forgotten_scores_of_a_model_that_cannot_roll_back_into_its_prompt_are_an_error() {
    let source = Source::opaque(model("opaque", 1));
    let mut evaluator = Evaluator::open(&[&source], &[[1].into()]).unwrap();
    evaluator.push(&[vec![2]]).unwrap();
    evaluator.eval_last(0).unwrap();
    evaluator.commit();
    assert!(matches!(evaluator.eval_from(0, &[0]), Err(Error::Forgotten { row: 0, position: 0 })));
    assert!(evaluator.eval_last(0).is_ok());
}

#[test]
fn messages_do_not_repeat_their_source() {
    use eft_core::error::with_sources;
    let cause = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such device");
    for error in [Error::backend("gpu", cause()), Error::source("large", cause()), Error::load(cause())] {
        assert_eq!(with_sources(&error).matches("no such device").count(), 1, "{error:?}");
    }
    let nested = Error::source("bridge", Error::backend("gpu", cause()));
    assert_eq!(with_sources(&nested), "`bridge` failed: the gpu backend failed: no such device");
}

#[test]
fn every_function_of_combine_refuses_bad_numbers_at_once() {
    let (a, b) = (model("a", 1), model("b", 2));
    let prompt = || PromptTransform::prefix([1]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let refused = [
            combine::delta(&a, &b, &b, bad),
            combine::amplified_delta(&a, &b, &b, bad),
            combine::balanced_delta(&a, &b, &b, bad, 1.0),
            combine::balanced_delta(&a, &b, &b, 1.0, bad),
            combine::realign(&a, &b, bad),
            combine::guidance(&a, prompt(), bad),
            combine::multi_objective(&a, [(bad, &a, &b)]),
            combine::weighted([(1.0, &a), (bad, &b)]),
            combine::product_of_experts([(1.0, &a), (bad, &b)]),
            combine::arithmetic(&(&a + bad * &b)),
            combine::mixture([(1.0, &a), (bad, &b)]),
            combine::power_mean([(bad, &a), (1.0, &b)], 1.0),
            combine::power_mean([(0.5, &a), (0.5, &b)], bad),
            combine::nucleus_delta(&a, &b, &b, bad, 0.9),
            combine::nucleus_delta(&a, &b, &b, 1.0, bad),
            combine::plausibility(&a, &b, bad),
            combine::gate(&a, &b, bad),
        ];
        for (i, result) in refused.into_iter().enumerate() {
            match result {
                Err(Error::InvalidParameter { .. } | Error::InvalidWeight { .. }) => {}
                other => panic!("{i} with {bad}: {other:?}"),
            }
        }
    }
}
