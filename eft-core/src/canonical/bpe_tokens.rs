use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::pieces::{Begins, Pieces, Place};
use super::{Bpe, Canonical, State};
use crate::TokenId;

/// The canonical sequences of byte pair encoding within pieces. The [module](super) has an example.
pub struct BpeTokens {
    bpe: Bpe,
    pieces: Pieces,
    /// For places in a text, when each token can follow. There are few places but those within a character.
    ways: Mutex<HashMap<u64, Arc<[Follows]>>>,
    /// The tokens that begin within a character.
    inner: Vec<TokenId>,
    /// Whether some tokens complete a character, for a last token and its place.
    completed: Mutex<HashMap<(TokenId, u64), bool>>,
}

/// When a token can follow at a place, in ascending order: from never to always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Follows {
    Never,
    /// If it is the first token. Merges do not make it, so it is a whole piece.
    IfFirst,
    /// If it does not merge with the last token.
    IfKept,
    /// Always: where it would merge with the last token, a piece can end between the two.
    Always,
}

/// How many places are remembered.
const PLACES: usize = 128;

impl BpeTokens {
    /// Combines the merges and the rule of cutting of one tokenizer.
    pub fn new(bpe: Bpe, pieces: Pieces) -> Self {
        let begins_within = |id: &TokenId| matches!(bpe.vocab().bytes(*id), Some([0x80..=0xBF, ..]));
        let ids = 0..bpe.vocab().real() as TokenId;
        let inner = ids.filter(|id| bpe.makes(*id)).filter(begins_within).collect();
        Self { bpe, pieces, ways: Mutex::default(), inner, completed: Mutex::default() }
    }

    /// Returns the merges.
    pub fn bpe(&self) -> &Bpe {
        &self.bpe
    }

    /// The place after all bytes of a token.
    fn place(&self, place: Place, token: TokenId, begins: Begins) -> Option<Place> {
        let (first, rest) = self.bpe.vocab().bytes(token)?.split_first()?;
        let place = self.pieces.after(place, *first, begins)?;
        rest.iter().try_fold(place, |place, byte| self.pieces.after(place, *byte, Begins::No))
    }

    /// When each token can follow at a place.
    fn ways(&self, inside: u64) -> Arc<[Follows]> {
        if let Some(ways) = self.ways.lock().unwrap_or_else(PoisonError::into_inner).get(&inside) {
            return ways.clone();
        }
        let place = Place::unpack(inside);
        let can_follow = |token, begins| {
            let after = self.place(place, token, begins);
            after.is_some_and(|after| after.is_complete() || self.can_be_completed(token, after))
        };
        let follows = |token| match self.bpe.makes(token) {
            // Within a character no piece ends.
            true if place.is_complete() && can_follow(token, Begins::Yes) => Follows::Always,
            true if can_follow(token, Begins::Maybe) => match self.bpe.is_merged(token) {
                true => Follows::IfKept,
                false => Follows::IfFirst,
            },
            _ => Follows::Never,
        };
        let ways: Arc<[_]> = (0..self.bpe.vocab().real() as TokenId).map(follows).collect();
        let mut known = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PLACES {
            known.clear();
        }
        known.insert(inside, ways.clone());
        ways
    }

    /// Whether tokens that stay as they are can complete the character that a token ends within.
    fn can_be_completed(&self, last: TokenId, place: Place) -> bool {
        let key = (last, place.pack());
        if let Some(known) = self.completed.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return *known;
        }
        let completes = |token: &&TokenId| {
            self.bpe.keeps(last, **token)
                && self
                    .place(place, **token, Begins::No)
                    .is_some_and(|place| place.is_complete() || self.can_be_completed(**token, place))
        };
        let found = self.inner.iter().any(|token| completes(&token));
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found);
        found
    }

    fn keeps(&self, last: Option<TokenId>, token: TokenId) -> bool {
        last.is_none_or(|last| self.bpe.keeps(last, token))
    }
}

impl Canonical for BpeTokens {
    fn start(&self) -> State {
        State { last: None, inside: self.pieces.start().pack() }
    }

    fn is_text(&self, token: TokenId) -> bool {
        self.bpe.makes(token)
    }

    fn after(&self, state: State, token: TokenId) -> Option<State> {
        if !self.bpe.makes(token) {
            return None;
        }
        let place = Place::unpack(state.inside);
        let begins = match (self.keeps(state.last, token), place.is_complete()) {
            (false, false) => return None,
            (false, true) => Begins::Yes,
            (true, _) => Begins::Maybe,
        };
        let place = self.place(place, token, begins)?;
        if !place.is_complete() && !self.can_be_completed(token, place) {
            return None;
        }
        Some(State { last: Some(token), inside: place.pack() })
    }

    fn may_end(&self, state: State) -> bool {
        self.pieces.may_end(Place::unpack(state.inside))
    }

    fn allowed(&self, state: State, vocab: usize) -> Vec<bool> {
        let ways = self.ways(state.inside);
        let least = match state.last {
            None => Follows::IfFirst,
            Some(last) if self.bpe.is_merged(last) => Follows::IfKept,
            Some(_) => Follows::Always,
        };
        let mut allowed: Vec<_> = ways.iter().map(|follows| *follows >= least).collect();
        // If merges do not make the last token, only those that always can follow are allowed so far, and stay so.
        if let Some(last) = state.last {
            self.bpe.each_not_kept(last, |tokens| {
                for token in tokens.iter().map(|token| *token as usize) {
                    allowed[token] = ways[token] == Follows::Always;
                }
            });
        }
        allowed.resize(vocab, false);
        allowed
    }

    fn allows_any(&self, state: State, tokens: &[TokenId]) -> bool {
        let known = self.ways.lock().unwrap_or_else(PoisonError::into_inner).get(&state.inside).cloned();
        let follows = |token: &TokenId| match &known {
            None => self.after(state, *token).is_some(),
            Some(ways) => match ways.get(*token as usize) {
                None | Some(Follows::Never) => false,
                Some(Follows::IfFirst) => state.last.is_none(),
                Some(Follows::IfKept) => self.keeps(state.last, *token),
                Some(Follows::Always) => true,
            },
        };
        tokens.iter().any(follows)
    }
}

impl std::fmt::Debug for BpeTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BpeTokens")
            .field("bpe", &self.bpe)
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}
