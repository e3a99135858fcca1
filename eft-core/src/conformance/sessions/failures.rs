//! Failures of the code under test: a call that fails changes nothing, or poisons the session.
use super::run::Run;
use super::tester::Tester;
use crate::backend::Backend;
use crate::conformance::Result;

/// Repeats a fixed series of operations, each time failing at a later step of the injector, until none is left to fail
/// at. Every call that fails is repeated, and all results must be as if it had not failed.
pub(super) fn check<B: Backend>(tester: &Tester<'_, B>) -> Result {
    for step in 0.. {
        tester.fail_after.set(Some(step));
        let outcome = series(tester);
        let reached = tester.fail_after.take().is_none();
        outcome?;
        if !reached {
            break;
        }
    }
    Ok(())
}

fn series<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    let rows = run.rows().len();
    run.feed(&vec![3; rows])?;
    let one_each =
        |run: &Run<'_, B>| -> Vec<_> { run.rows().iter().map(|row| row.tokens.len().min(1)).collect() };
    run.rollback(&one_each(&run))?;
    run.feed_one_each()?;
    let mut forked: Vec<_> = (0..rows).rev().collect();
    forked.push(0);
    run.select(&forked)?;
    let uneven: Vec<_> = (0..=rows).map(|row| row % 3).collect();
    run.feed(&uneven)?;
    run.rollback(&one_each(&run))?;
    run.select(&[rows, 0])?;
    run.feed_one_each()
}
