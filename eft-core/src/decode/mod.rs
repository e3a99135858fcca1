//! Generation: as an iterator over one text, and over a batch of them.
//!
//! Both stream, and stop where they are when dropped. Tokens that end a text, or belong to a stop sequence, are not
//! among those yielded but in [`Finished::tail`]. [`mod@text`] makes text of them.
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
mod generation;
mod sampler;
mod settings;
mod stop;
pub mod text;

pub use attribution::{Attribution, TermShare};
pub(crate) use batch::stop_ids;
pub use batch::{Batch, Event};
pub use generation::Generation;
pub use settings::Decoding;
pub use stop::{FinishReason, Finished};
pub use text::{Detokenizer, Piece, Text, TextBatch, TextEvent};

use crate::backend::Backend;
use crate::evaluator::{Evaluator, OpenOptions};
use crate::{Prompt, Result, Source};

impl<B: Backend> Source<B> {
    /// Generates one text. `decoding` is a [`Sampling`](crate::Sampling) or a [`Decoding`].
    ///
    /// # Errors
    /// As [`Evaluator::open`], and for settings outside their range. What goes wrong later is an item of the iterator.
    pub fn generate(
        &self,
        prompt: impl Into<Prompt>,
        decoding: impl Into<Decoding>,
    ) -> Result<Generation<B>> {
        Ok(Generation::new(self.generate_batch([prompt.into()], decoding)?))
    }

    /// Generates a text for each prompt, all of them in one pass of each model at a time.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_batch<P: Into<Prompt>>(
        &self,
        prompts: impl IntoIterator<Item = P>,
        decoding: impl Into<Decoding>,
    ) -> Result<Batch<B>> {
        let decoding = decoding.into();
        decoding.validate()?;
        let prompts: Vec<_> = prompts.into_iter().map(Into::into).collect();
        let options = OpenOptions { parallel: decoding.parallel, every_term: decoding.rivals.is_some() };
        Batch::over(Evaluator::open_with(&[self], &prompts, options)?, decoding)
    }
}
