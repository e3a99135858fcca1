use std::fmt;

use super::ngrams::Ngrams;
use super::{Lookup, TokenId};

/// Texts that are searched beside a row's own: see [`Speculative::lookup_in`](crate::speculate::Speculative::lookup_in).
pub(in crate::speculate) struct Earlier {
    ngrams: Ngrams,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl Earlier {
    pub(in crate::speculate) fn new<T: AsRef<[TokenId]>>(
        lookup: Lookup,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        let (mut ngrams, mut ends) = (Ngrams::new(lookup), Vec::new());
        for text in texts {
            ngrams.begin();
            text.as_ref().iter().for_each(|token| ngrams.push(*token));
            ends.push(ngrams.tokens().len());
        }
        Self { ngrams, ends }
    }

    /// The position after the latest occurrence of an n-gram that another token follows.
    pub(super) fn after(&self, ngram: &[TokenId]) -> Option<usize> {
        self.ngrams.after(ngram)
    }

    /// The tokens from a position to the end of its text.
    pub(super) fn rest(&self, position: usize) -> &[TokenId] {
        let text = self.ends.partition_point(|end| *end <= position);
        let end = self.ends.get(text).copied().unwrap_or(position);
        &self.ngrams.tokens()[position..end]
    }
}

impl fmt::Debug for Earlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.ngrams.tokens().len();
        f.debug_struct("Earlier")
            .field("texts", &self.ends.len())
            .field("tokens", &tokens)
            .finish_non_exhaustive()
    }
}
