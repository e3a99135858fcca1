use super::Joint;
use crate::backend::Backend;
use crate::check;
use crate::{Prompt, Result, RowFeed, Scores, Session};

/// The [`Session`] of a [`Source`](crate::Source): a [`Joint`] with one root.
pub struct JointSession<B: Backend> {
    joint: Joint<B>,
}

impl<B: Backend> JointSession<B> {
    pub(crate) fn new(joint: Joint<B>) -> Self {
        Self { joint }
    }

    /// The scores of each row's next token, also after a rollback.
    ///
    /// # Errors
    /// As [`Joint::eval`].
    pub fn current(&mut self) -> Result<Scores<B>> {
        self.joint.eval_last(0)
    }

    /// Goes on with other prompts, usually the conversation so far with the next turn behind it: see
    /// [`Joint::reopen`].
    ///
    /// # Errors
    /// As [`Joint::reopen`].
    pub fn reopen(&mut self, prompts: &[Prompt]) -> Result<Scores<B>> {
        self.joint.reopen(prompts)?;
        self.current()
    }

    /// The joint within, for loops that want more than a session gives.
    pub fn into_joint(self) -> Joint<B> {
        self.joint
    }

    /// The joint within, to look at.
    pub fn joint(&self) -> &Joint<B> {
        &self.joint
    }
}

impl<B: Backend> Session for JointSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        (0..self.joint.rows()).map(|row| self.joint.pushed(row).len()).collect()
    }

    fn room(&self) -> Vec<usize> {
        self.joint.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        self.joint.healthy()?;
        let (width, name) = (self.joint.feedable(), &self.joint.roots[0].name);
        check::feeds(name, feed, &self.joint.room(), width)?;
        self.joint.push(&feed.iter().map(|f| f.tokens.clone()).collect::<Vec<_>>())?;
        let at: Vec<_> = feed
            .iter()
            .zip(&self.joint.pushed)
            .map(|(feed, pushed)| pushed.len() + 1 - feed.wanted..pushed.len() + 1)
            .collect();
        match self.joint.eval(0, &at) {
            Ok(scores) => {
                self.joint.commit();
                Ok(scores)
            }
            Err(error) => {
                // As if the call had not been made; a failure to undo poisons the joint.
                let fed: Vec<_> = feed.iter().map(|f| f.tokens.len()).collect();
                self.joint.rollback(&fed)?;
                Err(error)
            }
        }
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.joint.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.joint.select(rows)
    }
}

impl<B: Backend> Joint<B> {
    /// Ids below this can be fed to every model.
    fn feedable(&self) -> usize {
        self.streams.iter().map(|s| s.origin.vocab().width()).min().unwrap_or(0)
    }
}

impl<B: Backend> std::fmt::Debug for JointSession<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("JointSession").field(&self.joint).finish()
    }
}
