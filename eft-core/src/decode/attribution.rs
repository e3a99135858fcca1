use crate::TokenId;
use crate::evaluator::TermLogProbs;

/// What each term of a combination did for a token that was chosen, against its likeliest rivals.
///
/// For a weighted sum the shares of all terms add up to `log p(token) − log p(rival)` of the combined
/// distribution. Logits mean nothing across rows, so shares are differences within one.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The likeliest other tokens of the combined distribution, likeliest first.
    pub rivals: Vec<TokenId>,
    /// The terms as the user wrote them, in their order.
    pub terms: Vec<TermShare>,
}

/// What one term did.
#[derive(Debug, Clone, PartialEq)]
pub struct TermShare {
    /// Its name.
    pub name: String,
    /// Its weight; `None` for a part of a rule that is no weighted sum.
    pub weight: Option<f32>,
    /// The token's log-probability by this term alone.
    pub log_prob: f32,
    /// For each rival, `w·(log π(token) − log π(rival))` in nats, with `w = 1` for a part of a rule: above zero
    /// where the term favoured the token.
    pub shares: Vec<f32>,
}

impl Attribution {
    /// From what the terms say of the token and its rivals, in this order, at position `index` of those asked for.
    pub(super) fn new(rivals: &[TokenId], terms: &[TermLogProbs], index: usize) -> Self {
        let terms = terms.iter().filter_map(|term| {
            let log_probs = term.log_probs.as_ref()?.get(index)?;
            let (token, rivals) = log_probs.split_first()?;
            let weight = term.weight.unwrap_or(1.0);
            Some(TermShare {
                name: term.name.clone(),
                weight: term.weight,
                log_prob: *token,
                shares: rivals.iter().map(|rival| weight * (token - rival)).collect(),
            })
        });
        Self { rivals: rivals.to_vec(), terms: terms.collect() }
    }
}
