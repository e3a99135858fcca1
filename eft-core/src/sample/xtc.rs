use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result, TokenId};

/// Exclude top choices (XTC): of the tokens that are at least as likely as a threshold, excludes all but the least likely
/// one, at random positions.
///
/// It makes texts less predictable, without making unlikely tokens likely where there is no choice. Introduced in
/// text-generation-webui (pull request 6335 by P. E. Weidmann, 2024).
///
/// ```
/// use eft_core::sample::Xtc;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok([0.6f32, 0.3, 0.1].map(f32::ln).to_vec()));
/// let decoding = Decoding::from(Sampling::default()).truncation(Xtc::new(0.2, 1.0)?).max_tokens(50);
/// assert!(model.generate([0], decoding)?.all(|token| token.unwrap().id > 0));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Xtc {
    threshold: f32,
    probability: f64,
    kept: Vec<TokenId>,
}

/// The lowest threshold: with a lower one, too many tokens would have to be looked at.
const LOWEST: f32 = 0.001;

impl Xtc {
    /// Creates the truncation: at each position, it is applied with this probability.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the threshold is from 0.001 to 1 and the probability from 0 to 1.
    pub fn new(threshold: f32, probability: f64) -> Result<Self> {
        if !(LOWEST..=1.0).contains(&threshold) {
            return Err(Error::parameter("XTC threshold", threshold, "from 0.001 to 1"));
        }
        if !(0.0..=1.0).contains(&probability) {
            return Err(Error::parameter("XTC probability", probability, "from 0 to 1"));
        }
        Ok(Self { threshold, probability, kept: Vec::new() })
    }

    /// Leaves a distribution as it is if one of these tokens would be excluded, such as those of line breaks and those
    /// that end a text.
    #[must_use]
    pub fn keeping(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.kept = tokens.into_iter().collect();
        self
    }
}

impl Truncation for Xtc {
    fn candidates(&self) -> usize {
        // No more tokens can reach the threshold; rounding may let one more do so.
        (1.0 / self.threshold) as usize + 1
    }

    fn cut(&self, likeliest: &[Pick], uniform: f64) -> Cut {
        let reaching = likeliest.iter().take_while(|pick| pick.log_prob.exp() >= self.threshold);
        let mut reaching: Vec<_> = reaching.map(|pick| pick.token).collect();
        // The least likely one of them is kept.
        reaching.pop();
        if uniform >= self.probability
            || reaching.is_empty()
            || reaching.iter().any(|token| self.kept.contains(token))
        {
            return Cut::Nothing;
        }
        Cut::Tokens(reaching)
    }
}
