use std::sync::Arc;

use super::earlier::Earlier;
use super::ngrams::Ngrams;
use super::{Lookup, TokenId};

/// A prompt and the text after it, whose last tokens are looked up.
#[derive(Debug, Clone)]
pub(super) struct Index {
    lookup: Lookup,
    own: Ngrams,
    /// The number of tokens of the prompt.
    prompt: usize,
    /// Texts that are searched too.
    earlier: Option<Arc<Earlier>>,
}

/// An earlier occurrence of the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// Whether it is in the prompt or the text, not in another text.
    pub(super) own: bool,
    /// The position after it.
    pub(super) after: usize,
    /// Its number of tokens.
    pub(super) length: usize,
}

impl Index {
    pub(super) fn new(lookup: Lookup, earlier: Option<Arc<Earlier>>, prompt: &[TokenId]) -> Self {
        let mut own = Ngrams::new(lookup);
        prompt.iter().for_each(|token| own.push(*token));
        Self { lookup, own, prompt: prompt.len(), earlier }
    }

    pub(super) fn prompt(&self) -> &[TokenId] {
        &self.own.tokens()[..self.prompt]
    }

    /// The number of tokens of the text after the prompt.
    pub(super) fn text_len(&self) -> usize {
        self.own.tokens().len() - self.prompt
    }

    /// Adds a token.
    pub(super) fn push(&mut self, token: TokenId) {
        self.own.push(token);
    }

    /// The latest occurrence of the longest run of last tokens that occurred earlier, in the prompt or the text rather than in
    /// another text.
    pub(super) fn find(&self) -> Option<Occurrence> {
        let tokens = self.own.tokens();
        let at = |length| {
            let ngram = &tokens[tokens.len() - length..];
            let own = self.own.after(ngram).map(|after| Occurrence { own: true, after, length });
            let elsewhere = || self.earlier.as_ref()?.after(ngram);
            own.or_else(|| elsewhere().map(|after| Occurrence { own: false, after, length }))
        };
        (self.lookup.least..=self.lookup.greatest.min(tokens.len())).rev().find_map(at)
    }

    /// The tokens that followed an occurrence. In the prompt and the text, they go on with themselves at the end; in another text
    /// they end with it.
    pub(super) fn continuation(&self, found: Occurrence, length: usize) -> Vec<TokenId> {
        if found.own {
            let tokens = &self.own.tokens()[found.after..];
            return tokens.iter().cycle().take(length).copied().collect();
        }
        let rest = self.earlier.as_ref().map_or(&[][..], |earlier| earlier.rest(found.after));
        rest[..length.min(rest.len())].to_vec()
    }

    /// Adds the tokens that were chosen after all, and returns how many of them an occurrence had predicted, one after another,
    /// and how many it takes to know that.
    pub(super) fn judge(&mut self, found: Option<Occurrence>, chosen: &[TokenId]) -> (usize, usize) {
        let predicted = found.map_or(Vec::new(), |found| self.continuation(found, chosen.len()));
        chosen.iter().for_each(|token| self.push(*token));
        let agreed =
            predicted.iter().zip(chosen).take_while(|(predicted, chosen)| predicted == chosen).count();
        (agreed, predicted.len().min(agreed + 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the longest run of last tokens that occurs earlier, its latest occurrence in the text, or else in the
    /// latest other text, and what follows it there.
    fn scan(
        lookup: Lookup,
        earlier: &[Vec<TokenId>],
        text: &[TokenId],
        length: usize,
    ) -> Option<(usize, Vec<TokenId>)> {
        for n in (lookup.least..=lookup.greatest.min(text.len())).rev() {
            let last = &text[text.len() - n..];
            if let Some(after) = (n..text.len()).rev().find(|end| &text[end - n..*end] == last) {
                let mut all = text.to_vec();
                (0..length).for_each(|i| all.push(all[after + i]));
                return Some((n, all.split_off(text.len())));
            }
            for other in earlier.iter().rev() {
                if let Some(after) = (n..other.len()).rev().find(|end| &other[end - n..*end] == last) {
                    return Some((n, other[after..other.len().min(after + length)].to_vec()));
                }
            }
        }
        None
    }

    fn texts() -> impl Strategy<Value = Vec<Vec<TokenId>>> {
        prop::collection::vec(prop::collection::vec(0u32..3, 0..20), 0..4)
    }

    fn index(lookup: Lookup, earlier: &[Vec<TokenId>], prompt: &[TokenId]) -> Index {
        let shared = (!earlier.is_empty()).then(|| Arc::new(Earlier::new(lookup, earlier)));
        Index::new(lookup, shared, prompt)
    }

    proptest! {
        #[test]
        fn the_draft_is_that_of_a_scan(
            least in 1usize..4, more in 0usize..5,
            earlier in texts(),
            prompt in prop::collection::vec(0u32..3, 0..40),
            text in prop::collection::vec(0u32..3, 0..40),
            length in 0usize..9,
        ) {
            let lookup = Lookup::default().least(least).greatest(least + more);
            let mut index = index(lookup, &earlier, &prompt);
            for end in 0..=text.len() {
                let all = [&prompt[..], &text[..end]].concat();
                let found = index.find().map(|found| (found.length, index.continuation(found, length)));
                prop_assert_eq!(found, scan(lookup, &earlier, &all, length));
                if let Some(token) = text.get(end) {
                    index.push(*token);
                }
            }
            prop_assert_eq!((index.prompt(), index.text_len()), (&prompt[..], text.len()));
        }

        #[test]
        fn hindsight_counts_the_tokens_that_would_have_been_accepted(
            earlier in texts(),
            prompt in prop::collection::vec(0u32..2, 1..30),
            chosen in prop::collection::vec(0u32..2, 0..9),
        ) {
            let mut index = index(Lookup::default().least(1).greatest(4), &earlier, &prompt);
            let found = index.find();
            let drafted = found.map_or(Vec::new(), |found| index.continuation(found, chosen.len()));
            let agreed = drafted.iter().zip(&chosen).take_while(|(a, b)| a == b).count();
            let judged = drafted.len().min(agreed + 1);
            prop_assert_eq!(index.judge(found, &chosen), (agreed, judged));
            prop_assert_eq!(index.text_len(), chosen.len());
        }
    }
}
