//! Each operation by itself, in the situations where mistakes are most likely.
use super::run::Run;
use super::tester::Tester;
use crate::RowFeed;
use crate::backend::Backend;
use crate::conformance::Result;

/// A context of at most this many tokens is filled to its end.
const FILLED: usize = 512;

pub(super) fn check<B: Backend>(tester: &Tester<'_, B>) -> Result {
    positions(tester)?;
    rollback_of_one_row(tester)?;
    rollback_of_all_rows(tester)?;
    rollback_into_the_prompt(tester)?;
    reordered_rows(tester)?;
    forked_rows(tester)?;
    pruned_rows(tester)?;
    full_context(tester)
}

/// Rows are fed 0 to 3 tokens in every combination with a neighbour, and 0 to 3 positions are requested.
fn positions<B: Backend>(tester: &Tester<'_, B>) -> Result {
    for shift in 0..4 {
        let mut run = Run::start(tester)?;
        for wanted in 0..4 {
            let feeds = (0..run.rows().len()).map(|row| {
                let tokens = run.tokens(row, (row + shift + wanted) % 4);
                RowFeed { wanted: tokens.len().min((wanted + row) % 4), tokens }
            });
            let feeds = feeds.collect();
            run.extend(feeds)?;
        }
        // A call that feeds nothing is not an error.
        run.feed(&vec![0; run.rows().len()])?;
        run.feed_one_each()?;
    }
    Ok(())
}

fn rollback_of_one_row<B: Backend>(tester: &Tester<'_, B>) -> Result {
    for drop in 1..4 {
        let mut run = Run::start(tester)?;
        run.under_law("a rollback of one row leaves the others alone");
        let rows = run.rows().len();
        for row in 0..rows {
            run.feed(&vec![4; rows])?;
            let mut drops = vec![0; rows];
            drops[row] = drop.min(run.rows()[row].tokens.len());
            run.rollback(&drops)?;
            run.feed_one_each()?;
            let all: Vec<_> = run.rows().iter().map(|row| row.tokens.len()).collect();
            run.rollback(&all)?;
        }
    }
    Ok(())
}

fn rollback_of_all_rows<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    run.under_law("after a rollback a session is as if the tokens had never been fed");
    let rows = run.rows().len();
    run.rollback(&vec![0; rows])?;
    for round in 0..4 {
        run.feed(&vec![3; rows])?;
        // A different number from each row, none from some.
        let drops: Vec<_> =
            run.rows().iter().enumerate().map(|(i, row)| row.tokens.len().min((i + round) % 4)).collect();
        run.rollback(&drops)?;
        run.feed_one_each()?;
    }
    Ok(())
}

/// A session may drop tokens of its prompt if its rollback limit says so. At least one token is kept.
fn rollback_into_the_prompt<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    run.under_law("a session that can roll back into its prompt is as if opened on less of it");
    let rows = run.rows().len();
    run.feed(&vec![2; rows])?;
    let limits = run.limits();
    let drops: Vec<_> = (0..rows)
        .map(|row| {
            let fed = run.rows()[row].tokens.len();
            let of_prompt = run.prompt_length(row).map_or(0, |length| (length - 1).min(2));
            limits[row].min(fed + of_prompt)
        })
        .collect();
    run.rollback(&drops)?;
    run.feed_one_each()?;
    run.feed(&vec![2; rows])
}

fn reordered_rows<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    run.under_law("reordered rows are what they were");
    let rows = run.rows().len();
    let counts: Vec<_> = (0..rows).map(|row| 1 + row % 3).collect();
    run.feed(&counts)?;
    let reversed: Vec<_> = (0..rows).rev().collect();
    run.select(&reversed)?;
    run.feed_one_each()?;
    let rotated: Vec<_> = (0..rows).map(|row| (row + 1) % rows).collect();
    run.select(&rotated)?;
    run.feed_one_each()?;
    let drops: Vec<_> = run.rows().iter().map(|row| row.tokens.len().min(2)).collect();
    run.rollback(&drops)?;
    run.feed_one_each()
}

fn forked_rows<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let rows = tester.model.rows();
    for row in 0..rows {
        let mut run = Run::start(tester)?;
        run.under_law("forked rows are independent");
        run.feed(&vec![2; rows])?;
        let neighbour = (row + 1) % rows;
        run.select(&[row, row, neighbour, row])?;
        // Each fork goes another way, one of them not at all at first.
        run.feed_one_each()?;
        run.feed(&[0, 2, 1, 1])?;
        let drop = run.rows()[1].tokens.len().min(2);
        run.rollback(&[0, drop, 0, 0])?;
        run.feed_one_each()?;
        run.select(&[3, 3, 0])?;
        run.feed(&[1, 0, 1])?;
        run.feed_one_each()?;
    }
    Ok(())
}

fn pruned_rows<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let rows = tester.model.rows();
    for row in 0..rows {
        let mut run = Run::start(tester)?;
        run.under_law("pruned rows leave the others alone");
        run.feed_one_each()?;
        let others: Vec<_> = (0..rows).filter(|other| *other != row || rows == 1).collect();
        run.select(&others)?;
        run.feed_one_each()?;
        run.select(&[others.len() - 1])?;
        run.feed_one_each()?;
    }
    Ok(())
}

/// The last token that a context has room for is scored like any other.
fn full_context<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    let rows = run.rows().len();
    run.under_law("a context can be filled to its end");
    for row in 0..rows {
        let room = run.room(row);
        if room > FILLED {
            continue;
        }
        let token = tester.test.token(tester.model.vocab(), row);
        let mut feeds = vec![RowFeed::none(); rows];
        feeds[row] = RowFeed::last((0..room).map(|i| tester.test.token(tester.model.vocab(), i)).collect());
        run.extend(feeds)?;
        let mut full = vec![RowFeed::none(); rows];
        full[row] = RowFeed::last(vec![token; run.room(row) + 1]);
        run.refuses_full(row, &full)?;
        let mut drops = vec![0; rows];
        drops[row] = room;
        run.rollback(&drops)?;
    }
    Ok(())
}
