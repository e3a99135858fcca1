use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Result, TokenId};

/// Forbids the tokens that end a text until it has a number of tokens.
///
/// ```
/// use eft_core::sample::MinNewTokens;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "</s>"])?.with_eos([1])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 9.0]));
/// let decoding = Decoding::from(Sampling::greedy()).processor(MinNewTokens::new(3, [1]));
/// assert_eq!(model.generate([0], decoding)?.count(), 3);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinNewTokens {
    least: usize,
    ends: Vec<TokenId>,
}

impl MinNewTokens {
    /// Lets texts have at least `least` tokens, where `ends` are the tokens that end a text: see
    /// [`Source::stop_ids`](crate::Source::stop_ids).
    pub fn new(least: usize, ends: impl IntoIterator<Item = TokenId>) -> Self {
        Self { least, ends: ends.into_iter().collect() }
    }
}

impl Processor for MinNewTokens {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        if history.generated.len() >= self.least {
            return Ok(Vec::new());
        }
        Ok(super::forbid(self.ends.iter().copied()))
    }
}
