use std::collections::HashMap;

use super::{Lookup, TokenId};

/// Texts one after another, and where each n-gram of theirs occurred last.
#[derive(Debug, Clone)]
pub(super) struct Ngrams {
    lookup: Lookup,
    tokens: Vec<TokenId>,
    /// Where the last text begins. No n-gram reaches from one text into the next.
    start: usize,
    /// For each n-gram, the position after its latest occurrence that another token follows.
    after: HashMap<Box<[TokenId]>, usize>,
}

impl Ngrams {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, tokens: Vec::new(), start: 0, after: HashMap::new() }
    }

    pub(super) fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Begins another text.
    pub(super) fn begin(&mut self) {
        self.start = self.tokens.len();
    }

    /// Adds a token to the last text.
    pub(super) fn push(&mut self, token: TokenId) {
        let end = self.tokens.len();
        for length in self.lookup.least..=self.lookup.greatest.min(end - self.start) {
            let ngram = &self.tokens[end - length..];
            match self.after.get_mut(ngram) {
                Some(after) => *after = end,
                None => drop(self.after.insert(ngram.into(), end)),
            }
        }
        self.tokens.push(token);
    }

    /// The position after the latest occurrence of an n-gram that another token follows.
    pub(super) fn after(&self, ngram: &[TokenId]) -> Option<usize> {
        self.after.get(ngram).copied()
    }
}
