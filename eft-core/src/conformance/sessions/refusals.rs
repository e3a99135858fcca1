//! Wrong calls: each is refused with the right kind of error, and changes nothing.
use super::run::Run;
use super::tester::Tester;
use crate::backend::Backend;
use crate::conformance::Result;
use crate::{Error, RowFeed, TokenId};

/// Rooms above this are not overrun: the feed would be too long.
const OVERRUN: usize = 1 << 16;

pub(super) fn check<B: Backend>(tester: &Tester<'_, B>) -> Result {
    let mut run = Run::start(tester)?;
    run.feed(&vec![2; run.rows().len()])?;
    wrong_feeds(tester, &mut run)?;
    wrong_rollbacks(&mut run)?;
    wrong_selections(&mut run)
}

fn shape(error: &Error) -> bool {
    matches!(error, Error::Shape { .. })
}

fn wrong_feeds<B: Backend>(tester: &Tester<'_, B>, run: &mut Run<'_, B>) -> Result {
    let rows = run.rows().len();
    let token = tester.test.token(tester.model.vocab(), 0);
    let (more, fewer) = (vec![RowFeed::one(token); rows + 1], vec![RowFeed::one(token); rows - 1]);
    run.refuses("a feed too many is refused", |session| session.extend(&more), shape)?;
    run.refuses("a feed too few is refused", |session| session.extend(&fewer), shape)?;
    // The feeds of the other rows are right, and must not be taken either.
    let right: Vec<_> = (0..rows).map(|row| RowFeed::last(vec![token; run.room(row).min(1)])).collect();
    for row in [0, rows - 1] {
        if run.room(row) < 2 {
            continue;
        }
        let with = |feed: RowFeed| {
            let mut feeds = right.clone();
            feeds[row] = feed;
            feeds
        };
        let feeds = with(RowFeed { tokens: vec![token], wanted: 2 });
        run.refuses("more positions wanted than tokens are refused", |s| s.extend(&feeds), shape)?;
        // The vocabulary of a source is cut to what its terms share, and its models may take more.
        let first = tester.model.prompt_length(&run.rows()[0]).map(|_| tester.model.vocab().width());
        for past in first.map(|width| width as TokenId).into_iter().chain([TokenId::MAX]) {
            let feeds = with(RowFeed::all(vec![token, past]));
            run.refuses(
                "a token past the vocabulary is refused",
                |session| session.extend(&feeds),
                |e| matches!(e, Error::TokenOutOfRange { row: r, token, .. } if *r == row && *token == past),
            )?;
        }
        if run.room(row) < OVERRUN {
            let feeds = with(RowFeed::last(vec![token; run.room(row) + 1]));
            run.refuses("a feed past the context is refused", |s| s.extend(&feeds), full(row))?;
        }
    }
    Ok(())
}

fn full(row: usize) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::ContextFull { row: r, .. } if *r == row)
}

impl<B: Backend> Run<'_, B> {
    /// Requires that a feed to a row whose context is full is refused.
    pub(super) fn refuses_full(&mut self, row: usize, feeds: &[RowFeed]) -> Result {
        self.refuses("a feed past the context is refused", |session| session.extend(feeds), full(row))
    }
}

fn wrong_rollbacks<B: Backend>(run: &mut Run<'_, B>) -> Result {
    let rows = run.rows().len();
    run.refuses("a rollback of too many rows is refused", |s| s.rollback(&vec![0; rows + 1]), shape)?;
    run.refuses("a rollback of too few rows is refused", |s| s.rollback(&vec![0; rows - 1]), shape)?;
    for row in [0, rows - 1] {
        // The other rows could be rolled back.
        let mut drops: Vec<_> = run.rows().iter().map(|row| row.tokens.len().min(1)).collect();
        drops[row] = run.limits()[row] + 1;
        run.refuses(
            "a rollback past the limit is refused",
            |session| session.rollback(&drops),
            |e| matches!(e, Error::RollbackTooFar { row: r, .. } if *r == row),
        )?;
    }
    Ok(())
}

fn wrong_selections<B: Backend>(run: &mut Run<'_, B>) -> Result {
    let rows = run.rows().len();
    for wrong in [vec![rows], vec![0, usize::MAX]] {
        run.refuses(
            "a selection of a row that does not exist is refused",
            |session| session.select(&wrong),
            |e| matches!(e, Error::RowOutOfRange { .. }),
        )?;
    }
    run.refuses(
        "an empty selection is refused",
        |session| session.select(&[]),
        |e| matches!(e, Error::EmptyBatch { .. }),
    )
}
