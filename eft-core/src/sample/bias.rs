use super::processor::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Adds a constant to the scores of some tokens; −∞ forbids a token.
///
/// ```
/// use eft_core::sample::LogitBias;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0, 2.0]));
/// let decoding = Decoding::from(Sampling::greedy()).processor(LogitBias::new([(0, 5.0)])?);
/// assert_eq!(model.generate([0], decoding)?.next().unwrap()?.id, 0);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LogitBias {
    biases: Vec<(TokenId, f32)>,
}

impl LogitBias {
    /// Adds these biases, in nats. A token that is named twice gets both.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if a bias is NaN or +∞.
    pub fn new(biases: impl IntoIterator<Item = (TokenId, f32)>) -> Result<Self> {
        let biases: Vec<_> = biases.into_iter().collect();
        match biases.iter().find(|(_, b)| b.is_nan() || *b == f32::INFINITY) {
            Some((_, bias)) => Err(Error::parameter("bias", bias, "a finite number, or −∞")),
            None => Ok(Self { biases }),
        }
    }

    /// Forbids these tokens.
    pub fn forbid(tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { biases: tokens.into_iter().map(|token| (token, f32::NEG_INFINITY)).collect() }
    }
}

impl Processor for LogitBias {
    fn edits(&self, _: &History<'_>) -> Result<Vec<Edit>> {
        Ok(vec![Edit::Bias(self.biases.clone())])
    }
}
