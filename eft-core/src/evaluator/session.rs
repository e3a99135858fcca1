use super::Evaluator;
use crate::backend::Backend;
use crate::check;
use crate::{Prompt, Result, RowFeed, Scores, Session};

/// The [`Session`] of a [`Source`](crate::Source): a [`Evaluator`] with one root.
pub struct EvaluatorSession<B: Backend> {
    evaluator: Evaluator<B>,
}

impl<B: Backend> EvaluatorSession<B> {
    pub(crate) fn new(evaluator: Evaluator<B>) -> Self {
        Self { evaluator }
    }

    /// The scores of each row's next token, also after a rollback.
    ///
    /// # Errors
    /// As [`Evaluator::eval`].
    pub fn current(&mut self) -> Result<Scores<B>> {
        self.evaluator.eval_last(0)
    }

    /// Goes on with other prompts, usually the conversation so far with the next turn behind it: see
    /// [`Evaluator::reopen`].
    ///
    /// # Errors
    /// As [`Evaluator::reopen`].
    pub fn reopen(&mut self, prompts: &[Prompt]) -> Result<Scores<B>> {
        self.evaluator.reopen(prompts)?;
        self.current()
    }

    /// The evaluator within, for loops that want more than a session gives.
    pub fn into_evaluator(self) -> Evaluator<B> {
        self.evaluator
    }

    /// The evaluator within, to look at.
    pub fn evaluator(&self) -> &Evaluator<B> {
        &self.evaluator
    }
}

impl<B: Backend> Session for EvaluatorSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        (0..self.evaluator.rows()).map(|row| self.evaluator.pushed(row).len()).collect()
    }

    fn room(&self) -> Vec<usize> {
        self.evaluator.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        self.evaluator.healthy()?;
        let (width, name) = (self.evaluator.feedable(), &self.evaluator.roots[0].name);
        check::feeds(name, feed, &self.evaluator.room(), width)?;
        self.evaluator.push(&feed.iter().map(|f| f.tokens.clone()).collect::<Vec<_>>())?;
        let at: Vec<_> = feed
            .iter()
            .zip(&self.evaluator.pushed)
            .map(|(feed, pushed)| pushed.len() + 1 - feed.wanted..pushed.len() + 1)
            .collect();
        match self.evaluator.eval(0, &at) {
            Ok(scores) => {
                self.evaluator.commit();
                Ok(scores)
            }
            Err(error) => {
                // As if the call had not been made; a failure to undo poisons the evaluator.
                let fed: Vec<_> = feed.iter().map(|f| f.tokens.len()).collect();
                self.evaluator.rollback(&fed)?;
                Err(error)
            }
        }
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.evaluator.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.evaluator.select(rows)
    }
}

impl<B: Backend> Evaluator<B> {
    /// Ids below this can be fed to every model.
    fn feedable(&self) -> usize {
        self.streams.iter().map(|s| s.origin.vocab().width()).min().unwrap_or(0)
    }
}

impl<B: Backend> std::fmt::Debug for EvaluatorSession<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EvaluatorSession").field(&self.evaluator).finish()
    }
}
