use std::sync::Arc;

use super::{Batch, Event, Finished};
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::Token;
use crate::speculate::Report;
use crate::{Result, Vocab};

/// One text, token by token: an iterator that runs the models as it is asked for more.
///
/// Ends after an error, and after the text's end, which [`finished`](Self::finished) tells.
#[derive(Debug)]
pub struct Generation<B: Backend> {
    batch: Batch<B>,
    finished: Option<Finished>,
}

impl<B: Backend> Generation<B> {
    pub(crate) fn new(batch: Batch<B>) -> Self {
        Self { batch, finished: None }
    }

    /// How the text ended; `None` while it has not.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// What the tokens stand for.
    pub fn vocab(&self) -> &Arc<Vocab> {
        self.batch.vocab()
    }

    /// What drafting was worth so far; `None` for plain decoding. See [`speculate`](crate::speculate).
    pub fn report(&self) -> Option<&Report> {
        self.batch.report()
    }

    /// The open models, to go on with: see [`Evaluator::reopen`].
    pub fn into_evaluator(self) -> Evaluator<B> {
        self.batch.into_evaluator()
    }
}

impl<B: Backend> Iterator for Generation<B> {
    type Item = Result<Token>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batch.next()? {
            Ok(Event::Token { token, .. }) => Some(Ok(token)),
            Ok(Event::Finished { finished, .. }) => {
                self.finished = Some(finished);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}
