use std::sync::Arc;

use super::{Evaluator, OpenOptions};
use crate::backend::Backend;
use crate::check;
use crate::{Draws, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session, Source, Vocab};

/// The [`Session`] of a [`Source`]: an [`Evaluator`] with one root.
///
/// ```
/// use eft_core::{from_fn, Host, RowFeed, Session, Vocab};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
/// let (mut session, _scores) = model.session(&[vec![0].into()])?;
/// let scores = session.extend(&[RowFeed::one(1)])?;
/// assert_eq!(scores.width(), 2);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct EvaluatorSession<B: Backend> {
    evaluator: Evaluator<B>,
}

impl<B: Backend> EvaluatorSession<B> {
    /// Returns the scores of each row's next token, also after a rollback.
    ///
    /// # Errors
    /// * [`Error::Poisoned`](crate::Error::Poisoned) after an earlier failure.
    /// * Any error of [`Evaluator::eval`], such as a full context, or a failure of a model.
    pub fn current(&mut self) -> Result<Scores<B>> {
        self.evaluator.eval_last(0)
    }

    /// Continues with other prompts, usually the conversation so far and the next turn, and returns the scores of each
    /// row's next token. See [`Evaluator::reopen`].
    ///
    /// # Errors
    /// Any error of [`Evaluator::reopen`] or [`Evaluator::eval`], such as a prompt that cannot be rendered or is too
    /// long, or a failure of a model.
    pub fn reopen(&mut self, prompts: &[Prompt]) -> Result<Scores<B>> {
        self.evaluator.reopen(prompts)?;
        self.current()
    }

    /// Adds a row for each prompt after the rows that there are, and returns the scores of each row's next token. See
    /// [`Evaluator::join`].
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let (mut session, _scores) = model.session(&[vec![0].into()])?;
    /// let scores = session.join(&[vec![0, 1, 1].into()])?;
    /// assert_eq!(scores.rows(), 2);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of [`Evaluator::join`] or [`Evaluator::eval`], such as a prompt that cannot be rendered or is too long, or
    /// a failure of a model.
    pub fn join(&mut self, prompts: &[Prompt]) -> Result<Scores<B>> {
        self.evaluator.join(prompts)?;
        self.current()
    }

    /// Returns the evaluator, for loops that need more than a session offers.
    pub fn into_evaluator(self) -> Evaluator<B> {
        self.evaluator
    }

    /// Returns a reference to the evaluator.
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
        self.evaluator.check_poison()?;
        // A token that some model does not have cannot be fed.
        let widths = self.evaluator.models.iter().map(|m| m.model.vocab().width());
        let width = widths.min().unwrap_or(0);
        check::feeds(self.evaluator.name(0)?, feed, &self.evaluator.room(), width)?;
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
                // As if the call had not been made. If that fails as well, the evaluator is poisoned and the next call
                // reports it; this call returns the first error.
                let fed: Vec<_> = feed.iter().map(|f| f.tokens.len()).collect();
                let _ = self.evaluator.rollback(&fed);
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

    fn foresee(&mut self, draws: Draws<'_>) {
        self.evaluator.foresee(draws);
    }
}

impl<B: Backend> Source<B> {
    /// Opens the source on prompts and returns a session, and the scores of each row's next token.
    ///
    /// Unlike the session of [`LogitSource::open`], this one can be [reopened](EvaluatorSession::reopen) on longer
    /// prompts.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let (mut session, _scores) = model.session(&[vec![0].into()])?;
    /// let scores = session.reopen(&[vec![0, 1, 1].into()])?;
    /// assert_eq!(scores.rows(), 1);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of [`Evaluator::open`], such as a prompt that cannot be rendered or is too long, vocabularies that do
    /// not fit together, or a failure of a model.
    pub fn session(&self, prompts: &[Prompt]) -> Result<(EvaluatorSession<B>, Scores<B>)> {
        self.session_with(prompts, OpenOptions::default())
    }

    /// Opens the source on prompts with options: see [`session`](Self::session).
    ///
    /// # Errors
    /// Any error of [`Evaluator::open`], such as a prompt that cannot be rendered or is too long, vocabularies that do
    /// not fit together, or a failure of a model.
    pub fn session_with(
        &self,
        prompts: &[Prompt],
        options: OpenOptions,
    ) -> Result<(EvaluatorSession<B>, Scores<B>)> {
        let mut session = EvaluatorSession { evaluator: Evaluator::open_with(&[self], prompts, options)? };
        let scores = session.current()?;
        Ok((session, scores))
    }
}

impl<B: Backend> LogitSource for Source<B> {
    type Backend = B;

    fn backend(&self) -> &B {
        self.backend()
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        let (session, scores) = self.session(prompts)?;
        Ok((Box::new(session), scores))
    }
}

impl<B: Backend> std::fmt::Debug for EvaluatorSession<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EvaluatorSession").field(&self.evaluator).finish()
    }
}
