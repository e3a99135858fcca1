//! The state of the parser for one text.
use std::collections::VecDeque;
use std::sync::Arc;

use eft_core::{TokenId, TokenMask};
use llguidance::Matcher;

use super::error::{Error, plain};
use super::tokens::GrammarTokens;

/// The most positions whose sets of allowed tokens are kept: longer than a draft.
const KEPT: usize = 80;

/// A parser that has read the tokens of a text, and the sets of tokens that were allowed at its last positions: verifying
/// a draft visits them again.
pub(super) struct TextState {
    matcher: Matcher,
    tokens: Vec<TokenId>,
    /// The allowed tokens, with the number of tokens before them.
    masks: VecDeque<(usize, Arc<TokenMask>)>,
}

impl TextState {
    pub(super) fn new(start: Matcher) -> Self {
        Self { matcher: start, tokens: Vec::new(), masks: VecDeque::new() }
    }

    /// Returns the tokens that may follow these.
    pub(super) fn mask(&mut self, tokens: &GrammarTokens, text: &[TokenId]) -> Result<Arc<TokenMask>, Error> {
        let common = self.tokens.iter().zip(text).take_while(|(a, b)| a == b).count();
        if common == text.len()
            && let Some((_, mask)) = self.masks.iter().find(|(position, _)| *position == common)
        {
            return Ok(mask.clone());
        }
        self.read(tokens, text, common)?;
        let position = text.len();
        let allowed = self.matcher.compute_mask_or_eos();
        let allowed = allowed.map_err(|error| {
            let reason = plain(&error.to_string());
            Error::TooComplex { position, reason }
        })?;
        let mask = Arc::new(tokens.mask(&allowed));
        self.masks.push_back((position, mask.clone()));
        if self.masks.len() > KEPT {
            self.masks.pop_front();
        }
        Ok(mask)
    }

    /// Reads a text, of which the first `common` tokens have been read before.
    fn read(&mut self, tokens: &GrammarTokens, text: &[TokenId], common: usize) -> Result<(), Error> {
        let failed = |error: String| Error::TooComplex { position: common, reason: plain(&error) };
        let drop = self.tokens.len() - common;
        self.matcher.rollback(drop).map_err(|error| failed(error.to_string()))?;
        self.tokens.truncate(common);
        self.masks.retain(|(position, _)| *position <= common);
        let new = &text[common..];
        let read = self.matcher.try_consume_tokens(new).map_err(|error| failed(error.to_string()))?;
        self.tokens.extend(&new[..read]);
        match new.get(read) {
            Some(&token) => Err(Error::Left { token, text: tokens.describe(token), position: common + read }),
            None => Ok(()),
        }
    }
}
