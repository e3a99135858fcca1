//! Models of any backend that prefer given tokens: their passes are the model's own, and a number is added to the logit of one
//! token in each score row. So a draft with random weights agrees with its target with a chosen probability.
use std::sync::Arc;

use eft::backend::score_rows;
use eft::{Backend, Edit, Engine, EngineRow, EngineSpec, Opened, Result, RowFeed, Scores, Session, TokenId};

use crate::agreement::{preferred, state};

/// An engine whose preferred tokens follow from the text alone.
pub(crate) struct Steered<E> {
    engine: Arc<E>,
    steering: Steering,
}

/// How the scores of a model are changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steering {
    /// The number added to the logit of the preferred token.
    pub(crate) margin: f32,
    /// The probability that this is the token that models with an `agreement` of 1 prefer after the same text.
    pub(crate) agreement: f64,
}

impl<E> Steered<E> {
    pub(crate) fn new(engine: &Arc<E>, steering: Steering) -> Self {
        Self { engine: engine.clone(), steering }
    }
}

impl<E: Engine> Engine for Steered<E> {
    type Backend = E::Backend;

    fn spec(&self) -> &EngineSpec<E::Backend> {
        self.engine.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<E::Backend>> {
        let (inner, scores) = self.engine.open(rows)?;
        let backend = self.spec().backend.clone();
        let rows = rows.iter().map(|row| row.tokens.clone()).collect();
        let session = SteeredSession { inner, backend, rows, steering: self.steering };
        let scores = session.steer(scores)?;
        Ok((Box::new(session), scores))
    }
}

struct SteeredSession<B: Backend> {
    inner: Box<dyn Session<Backend = B>>,
    backend: B,
    rows: Vec<Vec<TokenId>>,
    steering: Steering,
}

impl<B: Backend> SteeredSession<B> {
    /// Adds the margin to the preferred token of every position, which are the last ones of each row.
    fn steer(&self, scores: Scores<B>) -> Result<Scores<B>> {
        let width = scores.width();
        let count = scores.tensor().map_or(0, |tensor| self.backend.shape(tensor).0);
        let mut edits = vec![Vec::new(); count];
        for (row, text) in self.rows.iter().enumerate() {
            let positions = scores.positions(row);
            for (at, position) in positions.iter().enumerate() {
                let read = &text[..text.len() + 1 + at - positions.len()];
                let token = preferred(state(read), self.steering.agreement, width);
                edits[position.index] = vec![Edit::Bias(vec![(token as TokenId, self.steering.margin)])];
            }
        }
        scores.map(|tensor| self.backend.edit(&score_rows(&tensor, count), &edits, width))
    }
}

impl<B: Backend> Session for SteeredSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        let scores = self.inner.extend(feeds)?;
        self.rows.iter_mut().zip(feeds).for_each(|(row, feed)| row.extend(&feed.tokens));
        self.steer(scores)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.inner.rollback(drop)?;
        self.rows.iter_mut().zip(drop).for_each(|(row, drop)| row.truncate(row.len() - drop));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.inner.select(rows)?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
