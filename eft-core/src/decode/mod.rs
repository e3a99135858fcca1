//! Generation: one text at a time, or a batch of them, as an iterator.
//!
//! [`Source::generate`] yields the tokens of one text. [`Source::generate_batch`] yields the events of many, each a
//! [`Request`]. Both run the models only when the iterator is advanced, and stop when it is dropped. The tokens that
//! end a text are not yielded; they are in [`Finished::tail`]. The module [`text`](mod@text) turns tokens into text, and
//! [`joint`] generates from many combinations of the same models at once.
//!
//! ```
//! use eft_core::decode::{Decoding, FinishReason};
//! use eft_core::{from_fn, Host, Sampling, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
//! let model = from_fn(Host, vocab, |tokens| {
//!     Ok(if tokens.len() < 3 { vec![0.0, 5.0, 0.0] } else { vec![0.0, 0.0, 5.0] })
//! });
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(10);
//! let mut generation = model.generate([0], decoding)?;
//! let ids: Vec<_> = generation.by_ref().map(|token| Ok(token?.id)).collect::<eft_core::Result<_>>()?;
//! assert_eq!(ids, [1, 1]);
//! assert_eq!(generation.finished().unwrap().reason, FinishReason::EndOfSequence(2));
//! # Ok::<(), eft_core::Error>(())
//! ```
mod attribution;
mod batch;
mod event;
mod generation;
mod join;
pub mod joint;
pub(crate) mod open;
mod report;
mod request;
mod row;
mod sampler;
pub(crate) mod step;
pub(crate) mod stop;
pub mod text;
mod waiting;

pub use crate::sample::{Attribution, Decoding, TermShare};
pub use batch::Batch;
pub use event::Event;
pub use generation::Generation;
pub use joint::{Joint, JointWork, Variant};
pub use report::Report;
pub use request::Request;
pub use stop::{FinishReason, Finished};
pub use text::{Detokenizer, Piece, Text, TextBatch, TextEvent};

use crate::backend::Backend;
use crate::{Prompt, Result, Source};

impl<B: Backend> Source<B> {
    /// Generates one text. `decoding` is a [`Sampling`](crate::Sampling) or a [`Decoding`].
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
    /// let first = model.generate([0], Sampling::greedy())?.next().unwrap()?;
    /// assert_eq!(first.id, 1);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`](crate::Error::InvalidParameter) if a setting is out of its range.
    /// * [`Error::StopIdOutOfRange`](crate::Error::StopIdOutOfRange) or
    ///   [`Error::StopIdCut`](crate::Error::StopIdCut) if a stop id can never be generated.
    /// * [`Error::Unknown`](crate::Error::Unknown) if a processor asks for the prompt of a term that does not exist.
    /// * Any error of [`Evaluator::open`](crate::Evaluator::open).
    ///
    /// Errors that occur later are items of the iterator.
    pub fn generate(
        &self,
        prompt: impl Into<Prompt>,
        decoding: impl Into<Decoding>,
    ) -> Result<Generation<B>> {
        Ok(Generation::new(self.generate_batch([prompt.into()], decoding)?))
    }

    /// Generates a text for each request, all in the same passes of the models. A request is a prompt, or a [`Request`]
    /// with its own settings.
    ///
    /// A request whose prompt the models refuse does not fail the others: its row is an [`Event::Failed`].
    ///
    /// ```
    /// use eft_core::decode::Request;
    /// use eft_core::{from_fn, Decoding, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
    /// let requests = [Request::new([0]).max_tokens(2), Request::new([1]).samples(3)];
    /// let batch = model.generate_batch(requests, Decoding::default().max_tokens(5))?;
    /// assert_eq!(batch.rows(), 4);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of [`generate`](Self::generate) that is not the fault of a single prompt; and the error of the first
    /// prompt if no prompt can be opened.
    pub fn generate_batch<R: Into<Request>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        decoding: impl Into<Decoding>,
    ) -> Result<Batch<B>> {
        let decoding = decoding.into();
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let (evaluator, rows) = open::open(&[self], &requests, &decoding)?;
        Batch::start(evaluator, decoding, rows, Box::new(step::Plain))
    }
}
