use std::collections::HashMap;

use super::{Lookup, TokenId};

/// The tokens of a prompt and of the text after it, and where each n-gram occurred last.
#[derive(Debug, Clone)]
pub(super) struct Index {
    lookup: Lookup,
    tokens: Vec<TokenId>,
    /// The number of tokens of the prompt.
    prompt: usize,
    /// For each n-gram, the position after its latest occurrence that another token follows.
    after: HashMap<Box<[TokenId]>, usize>,
}

/// An earlier occurrence of the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// The position after it.
    pub(super) after: usize,
    /// Its number of tokens.
    pub(super) length: usize,
}

impl Index {
    pub(super) fn new(lookup: Lookup, prompt: &[TokenId]) -> Self {
        let mut index = Self { lookup, tokens: Vec::new(), prompt: 0, after: HashMap::new() };
        prompt.iter().for_each(|token| index.push(*token));
        index.prompt = prompt.len();
        index
    }

    pub(super) fn prompt(&self) -> &[TokenId] {
        &self.tokens[..self.prompt]
    }

    /// The number of tokens of the text after the prompt.
    pub(super) fn text_len(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    /// Adds a token.
    pub(super) fn push(&mut self, token: TokenId) {
        let end = self.tokens.len();
        for length in self.lookup.least..=self.lookup.greatest.min(end) {
            let ngram = &self.tokens[end - length..];
            match self.after.get_mut(ngram) {
                Some(after) => *after = end,
                None => drop(self.after.insert(ngram.into(), end)),
            }
        }
        self.tokens.push(token);
    }

    /// The latest occurrence of the longest run of last tokens that occurred earlier.
    pub(super) fn find(&self) -> Option<Occurrence> {
        let end = self.tokens.len();
        let at = |length| Some(Occurrence { after: *self.after.get(&self.tokens[end - length..])?, length });
        (self.lookup.least..=self.lookup.greatest.min(end)).rev().find_map(at)
    }

    /// The tokens that followed an occurrence, which go on with themselves at the end of the text.
    pub(super) fn continuation(&self, found: Occurrence, length: usize) -> Vec<TokenId> {
        let period = self.tokens.len() - found.after;
        (0..length).map(|i| self.tokens[found.after + i % period]).collect()
    }

    /// Adds the tokens that were chosen after all, and returns how many of them an occurrence had predicted, one after another,
    /// and how many it takes to know that.
    pub(super) fn judge(&mut self, found: Option<Occurrence>, chosen: &[TokenId]) -> (usize, usize) {
        let (mut agreed, mut judged, mut agrees) = (0, 0, true);
        for (index, token) in chosen.iter().enumerate() {
            if let Some(found) = found.filter(|_| agrees) {
                // What has been predicted so far is now part of the text.
                agrees = self.tokens[found.after + index] == *token;
                (agreed, judged) = (agreed + usize::from(agrees), judged + 1);
            }
            self.push(*token);
        }
        (agreed, judged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the longest run of last tokens that occurs earlier, its latest occurrence, and what follows it there.
    fn scan(lookup: Lookup, text: &[TokenId], length: usize) -> Option<(Occurrence, Vec<TokenId>)> {
        for n in (lookup.least..=lookup.greatest.min(text.len())).rev() {
            let last = &text[text.len() - n..];
            for start in (0..text.len() - n).rev() {
                if &text[start..start + n] == last {
                    let mut all = text.to_vec();
                    (0..length).for_each(|i| all.push(all[start + n + i]));
                    let found = Occurrence { after: start + n, length: n };
                    return Some((found, all.split_off(text.len())));
                }
            }
        }
        None
    }

    proptest! {
        #[test]
        fn the_draft_is_that_of_a_scan(
            least in 1usize..4, more in 0usize..5,
            prompt in prop::collection::vec(0u32..3, 0..40),
            text in prop::collection::vec(0u32..3, 0..40),
            length in 0usize..9,
        ) {
            let lookup = Lookup::default().least(least).greatest(least + more);
            let mut index = Index::new(lookup, &prompt);
            for end in 0..=text.len() {
                let all = [&prompt[..], &text[..end]].concat();
                let found = index.find().map(|found| (found, index.continuation(found, length)));
                prop_assert_eq!(found, scan(lookup, &all, length));
                if let Some(token) = text.get(end) {
                    index.push(*token);
                }
            }
            prop_assert_eq!((index.prompt(), index.text_len()), (&prompt[..], text.len()));
        }

        #[test]
        fn hindsight_counts_the_tokens_that_would_have_been_accepted(
            prompt in prop::collection::vec(0u32..2, 1..30),
            chosen in prop::collection::vec(0u32..2, 0..9),
        ) {
            let mut index = Index::new(Lookup::default().least(1).greatest(4), &prompt);
            let found = index.find();
            let drafted = found.map_or(Vec::new(), |found| index.continuation(found, chosen.len()));
            let agreed = drafted.iter().zip(&chosen).take_while(|(a, b)| a == b).count();
            let judged = drafted.len().min(agreed + 1);
            prop_assert_eq!(index.judge(found, &chosen), (agreed, judged));
            prop_assert_eq!(index.text_len(), chosen.len());
        }
    }
}
