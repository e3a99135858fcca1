use std::sync::Arc;

use super::{History, Processor};
use crate::backend::{Edit, TokenMask};
use crate::{Result, TokenId};

/// Allows some tokens and excludes all others, at every position.
///
/// For a set that depends on what was generated, as a grammar's does, implement [`Processor`] and return
/// [`Edit::Allow`].
#[derive(Debug, Clone, PartialEq)]
pub struct AllowedTokens {
    mask: Arc<TokenMask>,
}

impl AllowedTokens {
    /// Allows these; remember those that end a text.
    pub fn new(tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { mask: Arc::new(tokens.into_iter().collect()) }
    }
}

impl Processor for AllowedTokens {
    fn edits(&self, _: &History<'_>) -> Result<Vec<Edit>> {
        Ok(vec![Edit::Allow(self.mask.clone())])
    }
}
