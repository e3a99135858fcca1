//! Random walks: operations in any order.
use super::run::Run;
use super::tester::Tester;
use crate::RowFeed;
use crate::backend::Backend;
use crate::conformance::Result;

pub(super) fn check<B: Backend>(tester: &Tester<'_, B>) -> Result {
    tester.test.walk_seeds().try_for_each(|seed| walk(tester, seed))
}

fn walk<B: Backend>(tester: &Tester<'_, B>, seed: u64) -> Result {
    let mut run = Run::open(tester, tester.all_rows(), seed)?;
    for _ in 0..tester.test.steps_per_walk() {
        match run.number(6) {
            0..=2 => extend(&mut run)?,
            3 | 4 => {
                let limits: Vec<_> = run.rows().iter().map(|row| row.tokens.len()).collect();
                let drops: Vec<_> = limits.into_iter().map(|limit| run.number(limit + 1).min(4)).collect();
                run.rollback(&drops)?;
                run.feed_one_each()?;
            }
            _ => {
                let rows = run.rows().len();
                let count = 1 + run.number(tester.model.rows() + 1);
                let chosen: Vec<_> = (0..count).map(|_| run.number(rows)).collect();
                run.select(&chosen)?;
                run.feed_one_each()?;
            }
        }
    }
    Ok(())
}

/// Feeds each row up to 4 tokens and requests the scores after some of the last ones.
fn extend<B: Backend>(run: &mut Run<'_, B>) -> Result {
    let feeds = (0..run.rows().len()).map(|row| {
        let count = run.number(5);
        let tokens = run.tokens(row, count);
        RowFeed { wanted: run.number(tokens.len() + 1), tokens }
    });
    let feeds = feeds.collect();
    if run.number(2) == 0 {
        run.foresee();
    }
    run.extend(feeds)
}
