//! Drafts without a model: what followed the last tokens earlier, in the prompt, in the text, or in other texts.
//!
//! Saxena 2023, *Prompt lookup decoding*; the n-gram speculators of other programs work in the same way. Of earlier
//! occurrences of the last tokens, the longest counts, and of equally long ones the latest. Other texts: He et al. 2023,
//! *REST: retrieval-based speculative decoding*, arXiv 2311.08252.
mod earlier;
mod index;
mod ngrams;
mod rows;

use std::sync::Arc;

pub(super) use earlier::Earlier;
pub(super) use rows::{Found, LookupDraft};

use crate::{Error, Result, TokenId};

/// What is looked up, and where.
#[derive(Debug, Clone)]
pub(super) struct Lookups {
    pub(super) lookup: Lookup,
    /// Texts that are searched beside each row's own.
    pub(super) earlier: Option<Arc<Earlier>>,
}

/// The n-grams that are looked up for a draft: see [`Speculative::lookup`](super::Speculative::lookup).
///
/// Before each block, the longest run of last tokens that occurred earlier, in the prompt or in the text, is looked up, and
/// the tokens that followed its latest occurrence are the draft. Where they reach the end of the text, they go on with the
/// draft itself, so that a text that repeats itself is drafted at any length. With
/// [`lookup_in`](super::Speculative::lookup_in), other texts are searched, too, and a draft from one of them ends with it. An index of n-grams is kept for each text: a
/// new token adds one entry for each length, and a lookup takes as long in a long text as in a short one.
///
/// ```
/// use eft_core::speculate::Lookup;
/// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
///
/// let vocab = Vocab::new("abcd", ["a", "b", "c", "d"])?;
/// // Each letter is followed by the next one.
/// let model = from_fn(Host, vocab, |ids| {
///     let next = (ids[ids.len() - 1] + 1) % 4;
///     Ok((0..4).map(|id| if id == next { 1.0 } else { 0.0 }).collect())
/// });
/// let decoding = Decoding::from(Sampling::greedy()).max_tokens(12);
/// let speculative = model.speculate().lookup(Lookup::default().least(2)).block(3);
/// let mut text = speculative.generate([0, 1, 2, 3, 0, 1], &decoding)?;
/// text.by_ref().for_each(drop);
/// assert_eq!(text.report().unwrap().tokens_per_pass(), Some(4.0));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[must_use]
#[non_exhaustive]
pub struct Lookup {
    /// The least number of last tokens that must have occurred earlier; 3 by default. Fewer give more drafts and worse ones.
    pub least: usize,
    /// The greatest number of last tokens that are looked up; 8 by default. More find the right one of several earlier
    /// occurrences more often, and each length costs an entry of the index for each token.
    pub greatest: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { least: 3, greatest: 8 }
    }
}

impl Lookup {
    /// Sets the least number of last tokens that must have occurred earlier. A greater number becomes the greatest, too.
    pub fn least(mut self, tokens: usize) -> Self {
        self.least = tokens;
        self.greatest = self.greatest.max(tokens);
        self
    }

    /// Sets the greatest number of last tokens that are looked up. A smaller number becomes the least, too.
    pub fn greatest(mut self, tokens: usize) -> Self {
        self.greatest = tokens;
        self.least = self.least.min(tokens);
        self
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `1 ≤ least ≤ greatest`.
    pub fn validate(&self) -> Result<()> {
        if self.least == 0 {
            return Err(Error::parameter("the least n-gram of a lookup", 0, "at least 1 token"));
        }
        if self.greatest < self.least {
            let expected = "at least the least n-gram";
            return Err(Error::parameter("the greatest n-gram of a lookup", self.greatest, expected));
        }
        Ok(())
    }
}
