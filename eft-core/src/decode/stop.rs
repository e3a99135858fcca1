use std::collections::VecDeque;

use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::{Decoding, Token};
use crate::{Error, Result, TokenId};

/// Why a text ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum FinishReason {
    /// This end-of-sequence id was generated.
    EndOfSequence(TokenId),
    /// The stop sequence of this index was generated. The request's own sequences are counted first, then those of the
    /// [`Decoding`].
    StopSequence(usize),
    /// The text contains the stop string of this index: see [`text`](super::text). The request's own strings are
    /// counted first.
    StopString(usize),
    /// The text has reached its limit of tokens.
    MaxTokens,
    /// The context of some model is full.
    ContextFull,
    /// A black box reports the end and gives no reason.
    Ended,
}

/// How a text ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// The tokens that ended it, which were not yielded: the end-of-sequence token, the stop sequence, or the tokens
    /// from the one in which the stop string begins.
    pub tail: Vec<Token>,
}

/// The ids and sequences of tokens that end a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopRules {
    ids: Vec<TokenId>,
    sequences: Vec<Vec<TokenId>>,
}

impl StopRules {
    /// Collects the rules of `decoding` for a root of an evaluator: its stop ids, or the end-of-sequence ids of all terms,
    /// and its stop sequences.
    ///
    /// # Errors
    /// * [`Error::StopIdOutOfRange`] if a given id can never be generated.
    /// * [`Error::StopIdCut`] if a model's own end-of-sequence id can never be generated.
    pub(crate) fn new<B: Backend>(
        evaluator: &Evaluator<B>,
        root: usize,
        decoding: &Decoding,
    ) -> Result<Self> {
        let sequences = decoding.stop_sequences.clone();
        let rules = Self { ids: decoding.stop_ids.clone().unwrap_or_default(), sequences };
        let width = evaluator.width(root)?;
        rules.check(width)?;
        if decoding.stop_ids.is_some() {
            return Ok(rules);
        }
        let mut ids = Vec::new();
        for vocab in evaluator.vocabs(root)? {
            if let Some(&id) = vocab.eos().iter().find(|id| **id as usize >= width) {
                return Err(Error::StopIdCut { vocab: vocab.name().into(), id, common: width });
            }
            ids.extend(vocab.eos());
        }
        Ok(Self { ids, ..rules })
    }

    /// Adds the rules of one request: its stop ids replace the present ones, and its sequences come before the present
    /// ones.
    ///
    /// # Errors
    /// [`Error::StopIdOutOfRange`] if an id is not below `width` and so can never be generated.
    pub(super) fn of_request(
        &self,
        ids: Option<&Vec<TokenId>>,
        sequences: &[Vec<TokenId>],
        width: usize,
    ) -> Result<Self> {
        let ids = ids.unwrap_or(&self.ids).clone();
        let rules = Self { ids, sequences: [sequences, &self.sequences].concat() };
        rules.check(width)?;
        Ok(rules)
    }

    fn check(&self, width: usize) -> Result<()> {
        let mut all = self.ids.iter().chain(self.sequences.iter().flatten());
        match all.find(|id| **id as usize >= width) {
            Some(&id) => Err(Error::StopIdOutOfRange { id, common: width }),
            None => Ok(()),
        }
    }

    /// Returns why a text ends with its last token, and how many tokens are not yielded because they ended it: 1 for an
    /// end-of-sequence token, the whole length for a stop sequence. `None` if the text goes on.
    pub(crate) fn end(&self, text: &[TokenId]) -> Option<(FinishReason, usize)> {
        let last = *text.last()?;
        if self.ids.contains(&last) {
            return Some((FinishReason::EndOfSequence(last), 1));
        }
        let index = self.sequences.iter().position(|sequence| text.ends_with(sequence))?;
        Some((FinishReason::StopSequence(index), self.sequences[index].len()))
    }

    /// Returns how many tokens at the end of a text may turn out to begin a stop sequence.
    fn begun(&self, text: &[TokenId]) -> usize {
        let begins =
            |from: &usize| self.sequences.iter().any(|sequence| sequence.starts_with(&text[*from..]));
        (0..text.len()).find(begins).map_or(0, |from| text.len() - from)
    }
}

/// Matches the tokens of one text against its [`StopRules`], and holds tokens back that may turn out to belong to a
/// stop sequence.
#[derive(Debug, Default)]
pub(super) struct StopMatcher {
    held: VecDeque<Token>,
}

impl StopMatcher {
    /// Takes a token. Returns the tokens that can be yielded, and how the text ended, if it did.
    pub(super) fn push(&mut self, token: Token, rules: &StopRules) -> (Vec<Token>, Option<Finished>) {
        self.held.push_back(token);
        let ids: Vec<_> = self.held.iter().map(|t| t.id).collect();
        if let Some((reason, length)) = rules.end(&ids) {
            let tail = self.held.split_off(self.held.len() - length).into();
            return (self.release(), Some(Finished { reason, tail }));
        }
        (self.held.drain(..ids.len() - rules.begun(&ids)).collect(), None)
    }

    /// Yields the tokens held back, once nothing can follow them.
    pub(super) fn release(&mut self) -> Vec<Token> {
        self.held.drain(..).collect()
    }
}
