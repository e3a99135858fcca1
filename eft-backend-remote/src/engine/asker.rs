//! [`Asker`]: the rows of a batch as lists of token ids, and what the server tells about them.
use eft_core::{Backend, Engine, Error as CoreError, Result as CoreResult, RowFeed, TokenId, check};

use super::RemoteEngine;
use crate::error::Result;
use crate::parallel;
use crate::told::Told;

/// The rows of a batch.
pub(crate) struct Asker<B: Backend> {
    engine: RemoteEngine<B>,
    rows: Vec<Row>,
}

#[derive(Clone, Default)]
struct Row {
    tokens: Vec<TokenId>,
    /// The answer to the last feed, if another row failed then: repeating the call does not ask again.
    kept: Option<(RowFeed, Vec<Told>)>,
}

impl<B: Backend> Asker<B> {
    pub(crate) fn new(engine: RemoteEngine<B>, rows: usize) -> Self {
        Self { engine, rows: vec![Row::default(); rows] }
    }

    pub(crate) fn engine(&self) -> &RemoteEngine<B> {
        &self.engine
    }

    pub(crate) fn tokens(&self, row: usize) -> &[TokenId] {
        &self.rows[row].tokens
    }

    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.tokens.len()).collect()
    }

    pub(crate) fn room(&self) -> Vec<usize> {
        let context = self.engine.spec().context;
        let room = |row: &Row| context.map_or(usize::MAX, |context| context.saturating_sub(row.tokens.len()));
        self.rows.iter().map(room).collect()
    }

    pub(crate) fn check(&self, feeds: &[RowFeed]) -> CoreResult<()> {
        self.engine.spec().check_feeds(feeds, &self.room())
    }

    /// Asks for the wanted positions of each row, at the same time. The rows stay as they are until
    /// [`take`](Self::take); a row that was answered by a call that failed for another row is not asked for again.
    ///
    /// # Errors
    /// The error of the first row that failed, as that of the row.
    pub(crate) fn ask(&mut self, feeds: &[RowFeed]) -> CoreResult<Vec<Vec<Told>>> {
        let engine = &self.engine;
        let mut jobs = Vec::new();
        for (index, (row, feed)) in self.rows.iter_mut().zip(feeds).enumerate() {
            if row.kept.as_ref().is_some_and(|(kept, _)| kept != feed) {
                row.kept = None;
            }
            if feed.wanted > 0 && row.kept.is_none() {
                jobs.push((index, [&row.tokens[..], &feed.tokens].concat(), feed.wanted));
            }
        }
        let limit = engine.server().client.parallel();
        let answers: Vec<Result<_>> =
            parallel::map(&jobs, limit, |(_, tokens, wanted)| engine.ask(tokens, *wanted, engine.wanted()));
        let mut failed = None;
        for ((index, ..), answer) in jobs.iter().zip(answers) {
            match answer {
                Ok(told) => self.rows[*index].kept = Some((feeds[*index].clone(), told)),
                Err(error) if failed.is_none() => failed = Some((*index, error)),
                Err(_) => {}
            }
        }
        if let Some((row, error)) = failed {
            return Err(CoreError::row(row, error.of(&engine.spec().name)));
        }
        let told = |row: &Row| row.kept.as_ref().map_or(Vec::new(), |(_, told)| told.clone());
        Ok(self.rows.iter().map(told).collect())
    }

    /// Appends the tokens to the rows.
    pub(crate) fn take(&mut self, feeds: &[RowFeed]) {
        for (row, feed) in self.rows.iter_mut().zip(feeds) {
            row.kept = None;
            row.tokens.extend(&feed.tokens);
        }
    }

    pub(crate) fn rollback(&mut self, drop: &[usize]) -> CoreResult<()> {
        check::rollback(drop, &self.lengths())?;
        for (row, drop) in self.rows.iter_mut().zip(drop) {
            if *drop > 0 {
                row.kept = None;
                row.tokens.truncate(row.tokens.len() - drop);
            }
        }
        Ok(())
    }

    pub(crate) fn select(&mut self, rows: &[usize]) -> CoreResult<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
