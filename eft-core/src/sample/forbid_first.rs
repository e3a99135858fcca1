use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Result, TokenId};

/// Forbids some tokens as the first token of a text.
///
/// ```
/// use eft_core::sample::{ForbidFirst, History, Processor};
///
/// let forbid = ForbidFirst::new([7]);
/// assert_eq!(forbid.edits(&History::new(&[]))?.len(), 1);
/// assert!(forbid.edits(&History::new(&[3]))?.is_empty());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForbidFirst {
    tokens: Vec<TokenId>,
}

impl ForbidFirst {
    /// Forbids these tokens.
    pub fn new(tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { tokens: tokens.into_iter().collect() }
    }
}

impl Processor for ForbidFirst {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        if !history.generated.is_empty() {
            return Ok(Vec::new());
        }
        Ok(super::forbid(self.tokens.iter().copied()))
    }
}
