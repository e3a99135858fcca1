use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result};

/// Top-a: keeps the tokens whose probability is at least `a` times the square of the largest one. The surer the model is,
/// the fewer tokens are left.
///
/// Introduced by B. Peng with RWKV-LM, 2021.
///
/// ```
/// use eft_core::sample::TopA;
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// // Probabilities of 0.6, 0.3 and 0.1.
/// let model = from_fn(Host, vocab, |_| Ok([0.6f32, 0.3, 0.1].map(f32::ln).to_vec()));
/// let decoding = Decoding::from(Sampling::default()).truncation(TopA::new(0.5)?).max_tokens(50);
/// assert!(model.generate([0], decoding)?.all(|token| token.unwrap().id < 2)); // 0.5 · 0.6² = 0.18
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopA {
    a: f32,
}

impl TopA {
    /// Creates the truncation.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `a` is from 0 to 1.
    pub fn new(a: f32) -> Result<Self> {
        match (0.0..=1.0).contains(&a) {
            true => Ok(Self { a }),
            false => Err(Error::parameter("top_a", a, "from 0 to 1")),
        }
    }
}

impl Truncation for TopA {
    fn candidates(&self) -> usize {
        1
    }

    fn cut(&self, likeliest: &[Pick], _: f64) -> Cut {
        // A multiple of the square of the largest is a fraction of the largest.
        likeliest.first().map_or(Cut::Nothing, |first| Cut::Below(self.a * first.log_prob.exp()))
    }
}
