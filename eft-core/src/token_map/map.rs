use std::collections::HashMap;

use crate::{Error, Result, TokenId, Vocab};

/// Which tokens of two vocabularies are the same.
///
/// Ordinary tokens are the same if they stand for the same bytes, and special tokens if they have the same name. If no token
/// that ends a text has a counterpart, the first of each vocabulary are the same.
///
/// ```
/// use eft_core::Vocab;
/// use eft_core::token_map::TokenMap;
///
/// let old = Vocab::new("old", ["a", "b", "ab", "</s>"])?.with_eos([3])?;
/// let new = Vocab::new("new", ["<end>", "b", "a"])?.with_eos([0])?;
/// let map = TokenMap::new(&old, &new);
/// assert_eq!((map.get(0), map.get(2), map.get(3)), (Some(2), None, Some(0)));
/// assert_eq!(map.len(), 3);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenMap {
    /// For each token of the first vocabulary that of the second.
    to: Vec<Option<TokenId>>,
    len: usize,
}

impl TokenMap {
    /// Finds the tokens that two vocabularies have in common. Each token has at most one counterpart: of several that stand
    /// for the same bytes, the first. Vocabularies of which only the size is known have nothing in common with others.
    #[must_use]
    pub fn new(from: &Vocab, to: &Vocab) -> Self {
        let mut of_bytes = HashMap::new();
        for id in 0..to.real() as TokenId {
            if let Some(bytes) = to.bytes(id) {
                of_bytes.entry((to.is_special(id), bytes)).or_insert(id);
            }
        }
        let mut taken = vec![false; to.real()];
        let mut take = |id: TokenId| (!std::mem::replace(&mut taken[id as usize], true)).then_some(id);
        let counterpart = |id: TokenId| of_bytes.get(&(from.is_special(id), from.bytes(id)?)).copied();
        let mut map: Vec<_> =
            (0..from.real() as TokenId).map(|id| counterpart(id).and_then(&mut take)).collect();
        let ends = || from.eos().iter().filter(|id| (**id as usize) < map.len());
        if ends().all(|id| map[*id as usize].is_none())
            && let (Some(here), Some(there)) = (ends().next().copied(), to.eos().first())
            && (*there as usize) < to.real()
        {
            map[here as usize] = take(*there);
        }
        let len = map.iter().flatten().count();
        Self { to: map, len }
    }

    /// Returns the second vocabulary's token for one of the first.
    #[must_use]
    pub fn get(&self, token: TokenId) -> Option<TokenId> {
        self.to.get(token as usize).copied().flatten()
    }

    /// Returns the number of tokens that both vocabularies have.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a map without tokens is of no use to ask for")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Iterates over the tokens that both vocabularies have, in the order of the first's ids.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, TokenId)> + '_ {
        (0..).zip(&self.to).filter_map(|(from, to)| Some((from, (*to)?)))
    }
}

/// Returns the second vocabulary's tokens for a text of the first's. An ordinary token without a counterpart is spelled with
/// the longest tokens that its bytes begin with.
pub(super) fn spell(map: &TokenMap, from: &Vocab, to: &Vocab, tokens: &[TokenId]) -> Result<Vec<TokenId>> {
    let mut spelled = Vec::new();
    let mut of_bytes: Option<HashMap<&[u8], TokenId>> = None;
    for token in tokens {
        if let Some(same) = map.get(*token) {
            spelled.push(same);
            continue;
        }
        let bytes = from.bytes(*token).filter(|_| !from.is_special(*token));
        let mut rest = bytes.ok_or_else(|| unknown(from, to, *token))?;
        let of_bytes = of_bytes.get_or_insert_with(|| {
            let ids = (0..to.real() as TokenId).rev().filter(|id| !to.is_special(*id));
            ids.filter_map(|id| Some((to.bytes(id)?, id))).collect()
        });
        while !rest.is_empty() {
            let longest = (1..=rest.len()).rev().find_map(|end| Some((end, *of_bytes.get(&rest[..end])?)));
            let (end, id) = longest.ok_or_else(|| unknown(from, to, *token))?;
            spelled.push(id);
            rest = &rest[end..];
        }
    }
    Ok(spelled)
}

/// The error of a token that the second vocabulary does not have.
pub(super) fn unknown(from: &Vocab, to: &Vocab, token: TokenId) -> Error {
    let reason = format!("it has no token for {}, id {token} of `{}`", from.describe(token), from.name());
    Error::BadVocab { vocab: to.name().into(), reason }
}
