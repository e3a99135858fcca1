use crate::TokenId;
use crate::backend::Pick;

/// A generated token, with the statistics reported for it.
///
/// ```
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 2.0, 1.0]));
/// let decoding = Decoding::from(Sampling::greedy()).alternatives(2);
/// let token = model.generate([0], decoding)?.next().unwrap()?;
/// assert_eq!((token.id, token.position), (1, 0));
/// assert_eq!(token.alternatives[1].token, 2);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// The token's id.
    pub id: TokenId,
    /// The number of tokens that were generated before it.
    pub position: usize,
    /// Its log-probability (natural logarithm) in the combined distribution, before processors and filters.
    pub log_prob: f32,
    /// Its log-probability in the distribution that it was drawn from: after processors, temperature and filters.
    /// In greedy decoding there is neither temperature nor filter.
    pub processed_log_prob: f32,
    /// The likeliest tokens of the combined distribution, likeliest first: the number is
    /// [`Decoding::alternatives`](super::Decoding::alternatives).
    pub alternatives: Vec<Pick>,
    /// The contribution of each term of the combination, if [`Decoding::attribution`](super::Decoding::attribution)
    /// requests it.
    pub attribution: Option<Attribution>,
    /// The probability mass of the tokens that a black box reports; `None` if no term is a black box.
    pub known_mass: Option<f32>,
    /// In greedy decoding without processors: whether the token is the one that complete score rows would give, although
    /// a black box does not report all log-probs. `None` if no source says so.
    pub proven: Option<bool>,
    /// The share of the combined distribution that tokens without a score could have, at most; `None` if no source says
    /// so.
    pub missed_mass: Option<f32>,
}

/// The contributions of the terms of a combination to the choice of a token over its likeliest rivals.
///
/// For a weighted sum with scores `Σₖ wₖ·log πₖ`, the shares `wₖ·(log πₖ(token) − log πₖ(rival))` of all terms add up
/// to `log p(token) − log p(rival)` in the combined distribution `p`. Shares are differences within one distribution,
/// since a logit alone means nothing: every distribution has its own additive constant.
///
/// ```
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = |name: &str, logits: [f32; 2]| {
///     from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec())).named(name)
/// };
/// let sum = model("large", [1.0, 0.0]) + (model("tuned", [0.0, 3.0]) - model("untuned", [0.0, 1.0]));
/// let decoding = Decoding::from(Sampling::greedy()).attribution(1);
/// let token = sum.generate([0], decoding)?.next().unwrap()?;
/// let shares: Vec<_> = token.attribution.unwrap().terms.iter().map(|term| term.shares[0].round()).collect();
/// assert_eq!((token.id, shares), (1, vec![-1.0, 3.0, -1.0]));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attribution {
    /// The likeliest other tokens of the combined distribution, likeliest first.
    pub rivals: Vec<TokenId>,
    /// The terms in the order in which the combination was written.
    pub terms: Vec<TermShare>,
}

impl Attribution {
    /// Creates an attribution over these rivals.
    pub fn new(rivals: Vec<TokenId>, terms: Vec<TermShare>) -> Self {
        Self { rivals, terms }
    }
}

/// The contribution of one term: part of an [`Attribution`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TermShare {
    /// The term's name.
    pub name: String,
    /// The term's weight in the sum, or the [weight](crate::Rule::weight) that a rule gives to its part; `None` if it
    /// gives none.
    pub weight: Option<f32>,
    /// The token's log-probability in the term's own distribution.
    pub log_prob: f32,
    /// For each rival, `log π(token) − log π(rival)` in nats in the term's own distribution: above zero where the term
    /// alone prefers the token. It does not depend on the term's sign in the combination.
    pub margins: Vec<f32>,
    /// For each rival, `w·(log π(token) − log π(rival))` in nats, where `w` is the weight: above zero where the term
    /// made the combination prefer the token. Empty if there is no weight.
    pub shares: Vec<f32>,
}

impl TermShare {
    /// Computes the share of a term of the given weight from its log-probabilities of the token and of each rival.
    pub fn new(name: impl Into<String>, weight: Option<f32>, token: f32, rivals: &[f32]) -> Self {
        let margins: Vec<_> = rivals.iter().map(|rival| token - rival).collect();
        let shares = weight.map_or(Vec::new(), |weight| margins.iter().map(|m| weight * m).collect());
        Self { name: name.into(), weight, log_prob: token, margins, shares }
    }
}
