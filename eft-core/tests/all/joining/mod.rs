//! Rows that join an open evaluator or a running batch.
mod batches;
mod steps;

use std::sync::Arc;

use eft_core::conformance::{FaultInjector, FaultyBackend, SourceTest, check_joins};
use eft_core::{
    Backend, Engine, EngineRow, EngineSpec, Error, Evaluator, FnEngine, Host, OpenOptions, Opened, Prompt,
    PromptTransform, Result, RowFeed, Scores, Session, Source, bridge, combine, from_top,
};

use crate::common::*;

/// An engine whose sessions cannot roll back into their prompts.
struct Forward<E>(E);

struct ForwardSession<B: Backend> {
    inner: Box<dyn Session<Backend = B>>,
    fed: Vec<usize>,
}

impl<E: Engine> Engine for Forward<E> {
    type Backend = E::Backend;

    fn spec(&self) -> &EngineSpec<E::Backend> {
        self.0.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<E::Backend>> {
        let (inner, scores) = self.0.open(rows)?;
        Ok((Box::new(ForwardSession { inner, fed: vec![0; rows.len()] }), scores))
    }
}

impl<B: Backend> Session for ForwardSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.fed.clone()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        let scores = self.inner.extend(feeds)?;
        self.fed.iter_mut().zip(feeds).for_each(|(fed, feed)| *fed += feed.tokens.len());
        Ok(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        eft_core::check::rollback(drop, &self.fed)?;
        self.inner.rollback(drop)?;
        self.fed.iter_mut().zip(drop).for_each(|(fed, drop)| *fed -= drop);
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.inner.select(rows)?;
        self.fed = rows.iter().map(|row| self.fed[*row]).collect();
        Ok(())
    }
}

fn engine<B: Backend>(backend: B, name: &str, seed: u64, injector: &FaultInjector) -> FnEngine<B> {
    let spec = EngineSpec::new(name, backend, vocab(name)).adapters(["x"]);
    let injector = injector.clone();
    FnEngine::new(spec, move |row: &EngineRow| {
        injector.step()?;
        Ok(logits(seed + row.adapter.map_or(0, |_| 50), &row.tokens, WIDTH))
    })
}

/// Puts a token before prompts of an even number of tokens, so that two terms read the same ids for some prompts only.
fn before_even() -> PromptTransform {
    PromptTransform::new(|prompt| match prompt {
        Prompt::Tokens(ids) if ids.len() % 2 == 0 => Ok(Prompt::Tokens([&[6][..], ids].concat())),
        other => Ok(other.clone()),
    })
}

/// Sources of every kind, whose models may fail at each position that they score.
fn sources<B: Backend>(backend: &B, injector: &FaultInjector) -> Vec<Source<B>> {
    let model = |name: &str, seed| Source::new(engine(backend.clone(), name, seed, injector));
    let forward = |name: &str, seed| Source::new(Forward(engine(backend.clone(), name, seed, injector)));
    let (a, b, c) = (model("a", 1), model("b", 2), model("c", 3));
    let f = forward("f", 5);
    let bridged = a.bridged(backend.clone()).unwrap();
    vec![
        a.clone(),
        &a + 0.7 * (&b - &c),
        &a + (a.adapter("x").unwrap() - &a) + &b,
        combine::guidance(&a, PromptTransform::prefix([2, 2]), 0.5).unwrap(),
        // A term and the same one under another prompt, which some prompts make one model.
        &a + 0.5 * (a.under(before_even()) - 0.9 * &a),
        &b + 0.5 * (Source::opaque(a.clone()).under(before_even()) + Source::opaque(c.clone())),
        combine::mixture([(0.4, &a), (0.6, &b)]).unwrap(),
        combine::nucleus_delta(&a, &b, &c, 1.0, 0.8).unwrap(),
        // Rows that join these need sessions of their own.
        Source::opaque(&a + &b) + &c,
        f.clone(),
        f.adapter("x").unwrap() + &a,
        bridge(f.clone(), backend.clone()) + &c,
        &bridged + 0.7 * (bridged.adapter("x").unwrap() - &b),
        0.7 * &f + 0.5 * f.under(before_even()),
    ]
}

fn test() -> SourceTest {
    SourceTest::new([vec![0], vec![3, 1, 4], vec![3, 1]]).steps(30)
}

#[test]
fn rows_join_at_any_time() {
    for source in sources(&Host, &FaultInjector::new()) {
        check_joins(&source, &test()).unwrap_or_else(|e| panic!("{source}: {e}"));
    }
    let black_box = from_top(Host, vocab("top"), |tokens| {
        let mut scores: Vec<_> = (0..).zip(logits(4, tokens, WIDTH)).collect();
        scores.truncate(6);
        let total: f32 = scores.iter().map(|(_, score)| score.exp()).sum::<f32>() * 1.2;
        Ok(scores.into_iter().map(|(token, score)| (token, score - total.ln())).collect())
    });
    for source in [black_box.clone(), Source::opaque(black_box.clone()), &black_box + model("m", 3)] {
        check_joins(&source, &test()).unwrap_or_else(|e| panic!("{source}: {e}"));
    }
}

#[test]
fn a_call_that_fails_changes_nothing_or_poisons() {
    let injector = FaultInjector::new();
    let test = test().steps(10).walks(1).faults(&injector);
    for source in sources(&FaultyBackend::new(Host, &injector), &injector) {
        check_joins(&source, &test).unwrap_or_else(|e| panic!("{source}: {e}"));
    }
}

#[test]
fn what_a_prompt_shares_with_a_row_is_read_once() {
    let (source, counts) = counted("m", 1, &["x"]);
    let tuned = source.adapter("x").unwrap();
    let mut evaluator =
        Evaluator::open(&[&(&source + &tuned)], &[[1, 2, 3, 4].into(), [1, 2].into()]).unwrap();
    evaluator.push(&[vec![5], vec![7]]).unwrap();
    evaluator.eval_last(0).unwrap();
    counts.take();
    // All but the last two tokens are those of the first row with its token, and all but the last those of the second.
    evaluator.join(&[[1, 2, 3, 4, 5, 6, 7].into(), [1, 2, 7].into()]).unwrap();
    assert_eq!(counts.take(), (1, 2 * (2 + 1)), "two models read two tokens and one, in one pass");
}

#[test]
fn rows_that_cannot_be_copied_get_a_session_and_leave_with_it() {
    let injector = FaultInjector::new();
    let counts = Arc::new(Counts::default());
    let inner = Forward(engine(Host, "f", 5, &injector));
    let source = Source::new(Counting { inner, counts: counts.clone() });
    let mut evaluator = Evaluator::open(&[&source], &[[1].into()]).unwrap();
    evaluator.join(&[[2, 3].into()]).unwrap();
    counts.take();
    evaluator.push(&[vec![4], vec![4]]).unwrap();
    evaluator.eval_last(0).unwrap();
    assert_eq!(counts.take(), (2, 2), "each part takes a pass");
    evaluator.select(&[1]).unwrap();
    evaluator.push(&[vec![4]]).unwrap();
    evaluator.eval_last(0).unwrap();
    assert_eq!(counts.take(), (1, 1));
    // It has read [2, 3, 4, 4], and can drop no more than the last two.
    evaluator.join(&[[2, 3, 9].into()]).unwrap();
    assert_eq!(counts.take(), (1, 1));
}

#[test]
fn errors_count_the_new_rows_after_the_old_ones() {
    let short = short_model("short", 1, 3);
    let mut evaluator = Evaluator::open(&[&short], &[[1].into(), [2].into()]).unwrap();
    let refused = evaluator.join(&[[1].into(), [1, 2, 3, 4].into()]);
    assert!(matches!(refused, Err(Error::ContextFull { row: 3, .. })), "{refused:?}");
    let refused = evaluator.join(&[Vec::new().into()]);
    assert!(matches!(refused, Err(Error::EmptyPrompt { row: 2, .. })), "{refused:?}");
    assert_eq!(evaluator.rows(), 2);
}

#[test]
fn models_join_in_threads() {
    let (a, b) = (model("a", 1), model("b", 2));
    let both = &a + &b;
    let options = OpenOptions::default().parallel(true);
    let mut evaluator = Evaluator::open_with(&[&both], &[[1].into()], options).unwrap();
    evaluator.join(&[[2, 3].into()]).unwrap();
    let scores = values(&evaluator.eval_last(0).unwrap());
    assert_near(&scores[1], &scores_after(&both, &[2, 3], &[]), 0.0);
}

/// Reopening continues from rows of sessions that were opened at different times.
#[test]
fn an_evaluator_that_rows_have_joined_can_be_reopened() {
    for source in sources(&Host, &FaultInjector::new()) {
        let mut evaluator = Evaluator::open(&[&source], &[[1].into()]).unwrap();
        evaluator.join(&[[2, 3].into()]).unwrap();
        evaluator.push(&[vec![4], vec![5]]).unwrap();
        evaluator.eval_last(0).unwrap();
        evaluator.reopen(&[[2, 3, 5, 1].into(), [1, 4].into()]).unwrap();
        let scores = values(&evaluator.eval_last(0).unwrap());
        assert_near(&scores[0], &scores_after(&source, &[2, 3, 5, 1], &[]), 1e-5);
        assert_near(&scores[1], &scores_after(&source, &[1, 4], &[]), 1e-5);
    }
}
