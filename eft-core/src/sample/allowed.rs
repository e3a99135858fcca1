use std::sync::Arc;

use super::processor::{History, Processor};
use crate::backend::{Edit, TokenMask};
use crate::{Result, TokenId};

/// Allows some tokens and excludes all others, at every position.
///
/// For a set that depends on the tokens so far, as that of a grammar does, implement [`Processor`] and return
/// [`Edit::Allow`].
///
/// ```
/// use eft_core::sample::AllowedTokens;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("digits", ["one", "two", "three"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0, 2.0]));
/// let decoding = Decoding::default().max_tokens(8).processor(AllowedTokens::new([0, 1]));
/// assert!(model.generate([2], decoding)?.all(|token| token.unwrap().id < 2));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AllowedTokens {
    mask: Arc<TokenMask>,
}

impl AllowedTokens {
    /// Allows these tokens. A text that should be able to end needs its end-of-sequence tokens among them.
    pub fn new(tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { mask: Arc::new(tokens.into_iter().collect()) }
    }
}

impl From<TokenMask> for AllowedTokens {
    fn from(mask: TokenMask) -> Self {
        Self { mask: Arc::new(mask) }
    }
}

impl Processor for AllowedTokens {
    fn edits(&self, _: &History<'_>) -> Result<Vec<Edit>> {
        Ok(vec![Edit::Allow(self.mask.clone())])
    }
}
