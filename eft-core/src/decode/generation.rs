use std::sync::Arc;

use super::batch::Batch;
use super::event::Event;
use super::report::Report;
use super::stop::Finished;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::Token;
use crate::{Error, Result, Vocab};

/// One text, token by token: an iterator that runs the models each time it needs another token.
///
/// It ends after an error, and at the end of the text, which [`finished`](Self::finished) then describes.
///
/// ```
/// use eft_core::decode::FinishReason;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
/// let mut generation = model.generate([0], Decoding::default().max_tokens(3))?;
/// assert_eq!(generation.by_ref().count(), 3);
/// assert_eq!(generation.finished().unwrap().reason, FinishReason::MaxTokens);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Generation<B: Backend> {
    batch: Batch<B>,
    finished: Option<Finished>,
}

impl<B: Backend> Generation<B> {
    pub(crate) fn new(batch: Batch<B>) -> Self {
        Self { batch, finished: None }
    }

    /// Returns how the text ended; `None` while it has not.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// Returns the vocabulary of the first model, whose tokens the other models share.
    pub fn vocab(&self) -> &Arc<Vocab> {
        self.batch.vocab()
    }

    /// Returns statistics of speculative decoding so far; `None` for plain decoding. See
    /// [`speculate`](crate::speculate).
    pub fn report(&self) -> Option<&Report> {
        self.batch.report()
    }

    /// Returns the open models, with which the text can be continued: see [`Batch::into_evaluator`].
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
            // A model failed at the only row.
            Ok(Event::Failed { error, .. }) => {
                Some(Err(Arc::try_unwrap(error).unwrap_or_else(|shared| Error::source("the prompt", shared))))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
