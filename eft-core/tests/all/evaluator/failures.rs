//! A call that fails changes nothing, or every later call says that the evaluator is poisoned.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use eft_core::{
    Backend, Engine, EngineRow, EngineSpec, Error, Evaluator, FnEngine, Form, Host, LogitSource, Opened,
    Prompt, Result, RowFeed, Scores, Session, Source, TokenId, Vocab,
};

use crate::common::*;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It does nothing and returns an error.
    Refuses,
    /// It reads the tokens, but returns scores of the wrong shape.
    WrongShape,
    /// It returns an error, as do all later calls.
    Breaks,
}

/// Which call fails, counted over all sessions of an engine, and how.
struct Fuse {
    calls: AtomicUsize,
    fails_at: AtomicUsize,
    failure: Failure,
}

impl Fuse {
    /// Whether this call fails.
    fn blows(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) == self.fails_at.load(Ordering::SeqCst)
    }

    /// Makes the call after `calls` more calls fail.
    fn arm(&self, calls: usize) {
        self.fails_at.store(self.calls.load(Ordering::SeqCst) + calls, Ordering::SeqCst);
    }
}

struct Fragile {
    inner: FnEngine<Host>,
    fuse: Arc<Fuse>,
}

struct FragileSession {
    inner: Box<dyn Session<Backend = Host>>,
    fuse: Arc<Fuse>,
    broken: bool,
}

fn failed() -> Error {
    Error::source("fragile", "it fails on purpose")
}

impl Engine for Fragile {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        self.inner.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        if self.fuse.blows() {
            return Err(failed());
        }
        let (inner, scores) = self.inner.open(rows)?;
        Ok((Box::new(FragileSession { inner, fuse: self.fuse.clone(), broken: false }), scores))
    }
}

impl FragileSession {
    fn call<T>(&mut self, f: impl FnOnce(&mut dyn Session<Backend = Host>) -> Result<T>) -> Result<T> {
        if self.broken {
            return Err(Error::Poisoned { cause: failed().to_string() });
        }
        if self.fuse.blows() {
            self.broken = self.fuse.failure == Failure::Breaks;
            return Err(failed());
        }
        f(&mut *self.inner)
    }
}

impl Session for FragileSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        if self.fuse.failure == Failure::WrongShape && self.fuse.blows() {
            self.inner.extend(feed)?;
            let tensor = Host.upload(&[0.0], 1)?;
            return Ok(Scores::one_each(tensor, 1, 1, Form::Logits));
        }
        self.call(|session| session.extend(feed))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.call(|session| session.rollback(drop))
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.call(|session| session.select(rows))
    }
}

/// A model with an adapter, which share a session that fails.
fn fragile(failure: Failure) -> (Source<Host>, Arc<Fuse>) {
    let spec = EngineSpec::new("fragile", Host, vocab("fragile")).adapters(["tuned"]);
    let seed = |row: &EngineRow| 5 + row.adapter.map_or(0, |a| a as u64 + 1);
    let inner = FnEngine::new(spec, move |row| Ok(logits(seed(row), &row.tokens, WIDTH)));
    let fuse = Arc::new(Fuse { calls: AtomicUsize::new(0), fails_at: AtomicUsize::new(usize::MAX), failure });
    (Source::new(Fragile { inner, fuse: fuse.clone() }), fuse)
}

type Call = fn(&mut Evaluator<Host>) -> Result<()>;

/// What a call does to the tokens of each row.
type Effect = fn(&mut Vec<Vec<TokenId>>);

/// Calls of a decoding loop, each with its name and its effect.
fn calls() -> Vec<(&'static str, Call, Effect)> {
    vec![
        ("eval_last", |e| e.eval_last(0).map(drop), |_| ()),
        (
            "push",
            |e| e.push(&[vec![3, 4], vec![5]]),
            |rows| {
                rows[0].extend([3, 4]);
                rows[1].push(5);
            },
        ),
        ("eval_last of the draft", |e| e.eval_last(1).map(drop), |_| ()),
        ("eval_from", |e| e.eval_from(0, &[0, 1]).map(drop), |_| ()),
        ("rollback", |e| e.rollback(&[1, 0]), |rows| rows[0].truncate(1)),
        ("push again", |e| e.push(&[vec![7], vec![]]), |rows| rows[0].push(7)),
        ("eval after a rollback", |e| e.eval_last(0).map(drop), |_| ()),
        (
            "commit and look back",
            |e| {
                e.commit();
                e.eval(0, &[0..2, 1..1]).map(drop)
            },
            |_| (),
        ),
        ("term_log_probs", |e| e.term_log_probs(0, &[2..3, 1..2], &[vec![1], vec![2]]).map(drop), |_| ()),
        (
            "select",
            |e| e.select(&[1, 0, 0]),
            |rows| *rows = vec![rows[1].clone(), rows[0].clone(), rows[0].clone()],
        ),
        (
            "push to copies",
            |e| e.push(&[vec![1], vec![2], vec![3]]),
            |rows| {
                rows.iter_mut().zip(1..).for_each(|(row, token)| row.push(token));
            },
        ),
        ("eval of copies", |e| e.eval_last(0).map(drop), |_| ()),
    ]
}

#[test]
fn a_call_that_fails_changes_nothing_or_poisons() {
    for failure in [Failure::Refuses, Failure::WrongShape, Failure::Breaks] {
        let (mut failures, mut poisoned) = (0, 0);
        // Two prompts, of which the copies keep theirs.
        for fails_at in 0..40 {
            let (small, fuse) = fragile(failure);
            let tuned = small.adapter("tuned").unwrap();
            let target = model("large", 1) + 0.5 * (&tuned - &small);
            let mut prompts = vec![vec![1, 2], vec![8]];
            let mut evaluator =
                Evaluator::open(&[&target, &tuned], &[(&prompts[0]).into(), (&prompts[1]).into()]).unwrap();
            fuse.arm(fails_at);
            let mut rows = vec![vec![], vec![]];
            let mut was_poisoned = false;
            for (name, call, after) in calls() {
                let mut tries = 0;
                let gave_up = loop {
                    match call(&mut evaluator) {
                        Ok(()) => break false,
                        Err(Error::Poisoned { .. }) => break true,
                        Err(_) if tries == 0 => failures += 1,
                        Err(error) => panic!("{failure:?} at {fails_at}, {name}: a second failure: {error}"),
                    }
                    tries += 1;
                    let now: Vec<_> =
                        (0..evaluator.rows()).map(|row| evaluator.pushed(row).to_vec()).collect();
                    assert_eq!(now, rows, "{failure:?} at {fails_at}, {name}: rows changed");
                };
                if gave_up {
                    poisoned += 1;
                    was_poisoned = true;
                    // A poisoned evaluator can be used again after it is opened on the tokens that the rows held.
                    let whole: Vec<_> =
                        prompts.iter().zip(&rows).map(|(p, r)| [&p[..], r].concat().into()).collect();
                    evaluator.reopen(&whole).unwrap();
                    let scores = values(&evaluator.eval_last(0).unwrap());
                    for (got, (prompt, row)) in scores.iter().zip(prompts.iter().zip(&rows)) {
                        assert_near(got, &scores_after(&target, prompt, row), 1e-4);
                    }
                    break;
                }
                after(&mut rows);
                if name == "select" {
                    prompts = vec![prompts[1].clone(), prompts[0].clone(), prompts[0].clone()];
                }
                let now: Vec<_> = (0..evaluator.rows()).map(|row| evaluator.pushed(row).to_vec()).collect();
                assert_eq!(now, rows, "{failure:?} at {fails_at}, {name}");
            }
            // From here on nothing fails: a poisoned evaluator was checked above, and every other one is sound.
            fuse.fails_at.store(usize::MAX, Ordering::SeqCst);
            if !was_poisoned {
                let scores = evaluator.eval_from(0, &vec![0; evaluator.rows()]).unwrap();
                let mut scores = values(&scores).into_iter();
                for (prompt, row) in prompts.iter().zip(&rows) {
                    for length in 0..=row.len() {
                        let expected = scores_after(&target, prompt, &row[..length]);
                        assert_near(&scores.next().unwrap(), &expected, 1e-4);
                    }
                }
            }
        }
        assert!(failures > 5, "{failure:?}: {failures} calls failed");
        assert!(poisoned > 0 || failure != Failure::Breaks, "a session that broke was used");
    }
}

#[test]
fn a_session_whose_feed_fails_is_as_before() {
    for failure in [Failure::Refuses, Failure::WrongShape] {
        let (small, fuse) = fragile(failure);
        let target = model("large", 1) + &small;
        let (mut session, _) = target.session(&[[1].into(), [2, 3].into()]).unwrap();
        session.extend(&[RowFeed::one(4), RowFeed::none()]).unwrap();
        fuse.arm(0);
        let error = session.extend(&[RowFeed::all(vec![5, 6]), RowFeed::one(7)]).unwrap_err();
        assert!(!matches!(error, Error::Poisoned { .. }), "{error}");
        assert_eq!(session.rollback_limit(), [1, 0]);
        let scores = values(&session.extend(&[RowFeed::one(8), RowFeed::one(9)]).unwrap());
        assert_near(&scores[0], &scores_after(&target, &[1], &[4, 8]), 1e-4);
        assert_near(&scores[1], &scores_after(&target, &[2, 3], &[9]), 1e-4);
    }
}

#[test]
fn wrong_tokens_are_refused_before_any_model_runs() {
    let (small, counts) = counted("small", 3, &[]);
    let mut evaluator = Evaluator::open(&[&(model("large", 1) + small)], &[[1].into()]).unwrap();
    evaluator.push(&[vec![2]]).unwrap();
    counts.take();
    let wrong = evaluator.term_log_probs(0, std::slice::from_ref(&(1..2)), &[vec![WIDTH as TokenId]]);
    assert!(matches!(wrong, Err(Error::TokenOutOfRange { .. })));
    assert_eq!(counts.take(), (0, 0));
}

#[test]
fn a_failed_reopening_poisons_and_another_mends() {
    let (small, fuse) = fragile(Failure::Refuses);
    let target = model("large", 1) + &small;
    let mut evaluator = Evaluator::open(&[&target], &[[1, 2].into()]).unwrap();
    evaluator.push(&[vec![3]]).unwrap();
    // An error found before any model runs changes nothing.
    assert!(matches!(evaluator.reopen(&[]), Err(Error::EmptyBatch { .. })));
    assert_eq!(evaluator.pushed(0), [3]);
    assert_near(&values(&evaluator.eval_last(0).unwrap())[0], &scores_after(&target, &[1, 2], &[3]), 1e-4);
    // If continuing fails, the model is opened again instead. Only if that fails too is there an error.
    fuse.arm(0);
    evaluator.reopen(&[[1, 2, 3, 4].into()]).unwrap();
    assert_near(
        &values(&evaluator.eval_last(0).unwrap())[0],
        &scores_after(&target, &[1, 2, 3, 4], &[]),
        1e-4,
    );
    // An opaque source is always opened again.
    let fails = Arc::new(AtomicBool::new(false));
    let opaque = Source::opaque(Unopenable { inner: small, fails: fails.clone() });
    let mut evaluator = Evaluator::open(&[&(&target + &opaque)], &[[1].into()]).unwrap();
    fails.store(true, Ordering::SeqCst);
    assert!(matches!(evaluator.reopen(&[[1, 2].into()]), Err(Error::Source { .. })));
    assert!(matches!(evaluator.eval_last(0), Err(Error::Poisoned { .. })));
    assert!(matches!(evaluator.push(&[vec![1]]), Err(Error::Poisoned { .. })));
    fails.store(false, Ordering::SeqCst);
    evaluator.reopen(&[[1, 2].into()]).unwrap();
    let expected = scores_after(&(&target + &opaque), &[1, 2], &[]);
    assert_near(&values(&evaluator.eval_last(0).unwrap())[0], &expected, 1e-4);
}

/// A source that can be made to fail at opening.
struct Unopenable {
    inner: Source<Host>,
    fails: Arc<AtomicBool>,
}

impl LogitSource for Unopenable {
    type Backend = Host;

    fn backend(&self) -> &Host {
        self.inner.backend()
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.inner.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<Host>> {
        if self.fails.load(Ordering::SeqCst) { Err(failed()) } else { self.inner.open(prompts) }
    }
}
