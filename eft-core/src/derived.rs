//! A session whose scores are computed from those of another session.
use std::borrow::Cow;

use crate::backend::Backend;
use crate::error::with_sources;
use crate::{Draws, Error, Result, RowFeed, Scores, Session};

/// How tokens and scores are translated between a session and the one that it is derived from. Each token is one token of
/// the other session.
pub(crate) trait Translate: Send {
    type From: Backend;
    type To: Backend;

    /// Returns the other session's tokens for these, whose rows have room for `room[i]` tokens.
    fn feeds<'a>(&self, feeds: &'a [RowFeed], room: &[usize]) -> Result<Cow<'a, [RowFeed]>>;

    /// Returns scores that are computed from those of the other session.
    fn scores(&self, scores: Scores<Self::From>) -> Result<Scores<Self::To>>;
}

pub(crate) struct Derived<T: Translate> {
    session: Box<dyn Session<Backend = T::From>>,
    translate: T,
    /// The failure after which the other session holds tokens that the caller has not fed successfully.
    poison: Option<String>,
}

impl<T: Translate> Derived<T> {
    pub(crate) fn new(session: Box<dyn Session<Backend = T::From>>, translate: T) -> Self {
        Self { session, translate, poison: None }
    }

    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

impl<T: Translate> Session for Derived<T> {
    type Backend = T::To;

    fn rollback_limit(&self) -> Vec<usize> {
        self.session.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.session.room()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<T::To>> {
        self.healthy()?;
        let translated = self.translate.feeds(feeds, &self.session.room())?;
        let scores = self.session.extend(&translated)?;
        self.translate.scores(scores).inspect_err(|error| {
            // The other session has taken the tokens: the call must be undone, or a retry would feed them twice.
            let fed: Vec<_> = feeds.iter().map(|feed| feed.tokens.len()).collect();
            if let Err(undo) = self.session.rollback(&fed) {
                self.poison = Some(format!(
                    "{}; then undoing the call failed: {}",
                    with_sources(error),
                    with_sources(&undo)
                ));
            }
        })
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        self.session.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        self.session.select(rows)
    }

    fn foresee(&mut self, draws: Draws<'_>) {
        self.session.foresee(draws);
    }
}
