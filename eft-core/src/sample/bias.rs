use super::{History, Processor};
use crate::backend::Edit;
use crate::{Error, Result, TokenId};

/// Adds a constant to the scores of some tokens; −∞ forbids one.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitBias {
    biases: Vec<(TokenId, f32)>,
}

impl LogitBias {
    /// Biases in nats.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for NaN and +∞.
    pub fn new(biases: impl IntoIterator<Item = (TokenId, f32)>) -> Result<Self> {
        let biases: Vec<_> = biases.into_iter().collect();
        match biases.iter().find(|(_, b)| b.is_nan() || *b == f32::INFINITY) {
            Some((_, bias)) => Err(Error::parameter("bias", bias, "a finite number, or −∞")),
            None => Ok(Self { biases }),
        }
    }

    /// Forbids tokens.
    pub fn forbid(tokens: impl IntoIterator<Item = TokenId>) -> Self {
        Self { biases: tokens.into_iter().map(|token| (token, f32::NEG_INFINITY)).collect() }
    }
}

impl Processor for LogitBias {
    fn edits(&self, _: &History<'_>) -> Result<Vec<Edit>> {
        Ok(vec![Edit::Bias(self.biases.clone())])
    }
}
