use super::truncation::{Cut, Truncation};
use crate::backend::Pick;
use crate::{Error, Result, TokenId};

/// Locally typical sampling: keeps the tokens whose information is closest to what is expected.
///
/// The information of a token is `−log p`, and its expected value is the entropy `H` of the distribution. Tokens are kept
/// in the order of `|−log p − H|` until their probabilities add up to `mass`. So a token that is much likelier than
/// expected may be excluded, too. Meister et al. 2022, arXiv 2202.00666, equation 10.
///
/// ```
/// use eft_core::sample::{Cut, Truncation, Typical};
/// use eft_core::Pick;
///
/// // The entropy is 0.90 nats; the information of the tokens is 0.51, 1.20 and 2.30 nats.
/// let picks = [0.6f32, 0.3, 0.1].into_iter().zip(0..);
/// let picks: Vec<_> = picks.map(|(p, token)| Pick { token, log_prob: p.ln() }).collect();
/// assert_eq!(Typical::new(0.25)?.cut(&picks, 0.0), Cut::Keep(vec![1]));
/// assert_eq!(Typical::new(0.85)?.cut(&picks, 0.0), Cut::Keep(vec![1, 0]));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Typical {
    mass: f32,
}

impl Typical {
    /// Creates the truncation.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the mass is above 0 and at most 1.
    pub fn new(mass: f32) -> Result<Self> {
        match mass > 0.0 && mass <= 1.0 {
            true => Ok(Self { mass }),
            false => Err(Error::parameter("typical mass", mass, "above 0 and at most 1")),
        }
    }
}

impl Truncation for Typical {
    fn candidates(&self) -> usize {
        usize::MAX
    }

    fn cut(&self, likeliest: &[Pick], _: f64) -> Cut {
        if self.mass == 1.0 {
            return Cut::Nothing;
        }
        let entropy: f64 = likeliest
            .iter()
            .map(|pick| f64::from(pick.log_prob))
            .map(|log_prob| -log_prob * log_prob.exp())
            .sum();
        let distance = |pick: &Pick| (-f64::from(pick.log_prob) - entropy).abs();
        let mut tokens = likeliest.to_vec();
        // Equally typical tokens stay in the total order.
        tokens.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let (mut kept, mut mass): (Vec<TokenId>, f64) = (Vec::new(), 0.0);
        for pick in tokens {
            if mass >= f64::from(self.mass) {
                break;
            }
            mass += f64::from(pick.log_prob).exp();
            kept.push(pick.token);
        }
        Cut::Keep(kept)
    }
}
