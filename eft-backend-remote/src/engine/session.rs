//! The session of a [`RemoteEngine`](crate::RemoteEngine).
use eft_core::{Backend, Engine, Form, Result, RowFeed, Scores, Session};

use super::{Asker, RemoteEngine};

pub(crate) struct RemoteSession<B: Backend> {
    asker: Asker<B>,
}

impl<B: Backend> RemoteSession<B> {
    pub(crate) fn new(engine: RemoteEngine<B>, rows: usize) -> Self {
        Self { asker: Asker::new(engine, rows) }
    }
}

impl<B: Backend> Session for RemoteSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.asker.lengths()
    }

    fn room(&self) -> Vec<usize> {
        self.asker.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        self.asker.check(feeds)?;
        let told = self.asker.ask(feeds)?;
        let (spec, form) = (self.asker.engine().spec(), self.asker.engine().form());
        let width = spec.vocab.width();
        let rows: Vec<Vec<_>> =
            told.iter().map(|row| row.iter().map(|told| told.row(width)).collect()).collect();
        let scores = Scores::upload(&spec.backend, &rows, width, form)?;
        self.asker.take(feeds);
        Ok(match form {
            Form::Partial => {
                scores.with_known_mass(told.iter().flatten().map(|told| told.mass() as f32).collect())
            }
            _ => scores,
        })
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.asker.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.asker.select(rows)
    }
}
