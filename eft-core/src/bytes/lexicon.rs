use std::ops::Range;
use std::sync::Arc;

use crate::canonical::Canonical;
use crate::{TokenId, Vocab};

/// The tokens of text, in the order of their bytes: those that begin with the same bytes are neighbours.
pub(super) struct Lexicon {
    vocab: Arc<Vocab>,
    order: Vec<TokenId>,
    /// For each id its place in the order, or `NONE`.
    places: Vec<u32>,
    /// The token of each single byte.
    single: [Option<TokenId>; 256],
    /// Where the tokens that begin with each byte start; one more entry for their end.
    firsts: Vec<usize>,
}

/// The place of a token that is not of text.
const NONE: u32 = u32::MAX;

impl Lexicon {
    pub(super) fn new(vocab: Arc<Vocab>, canonical: &dyn Canonical) -> Self {
        let ids = 0..vocab.real() as TokenId;
        let is_text =
            |id: &TokenId| canonical.is_text(*id) && vocab.bytes(*id).is_some_and(|b| !b.is_empty());
        let mut order: Vec<_> = ids.filter(is_text).collect();
        order.sort_by_key(|id| (vocab.bytes(*id).unwrap_or_default(), *id));
        let first = |id: &TokenId| vocab.bytes(*id).unwrap_or_default()[0];
        let firsts: Vec<_> =
            (0..=256).map(|byte| order.partition_point(|id| usize::from(first(id)) < byte)).collect();
        let single = std::array::from_fn(|byte| {
            let at = firsts[byte];
            order.get(at).copied().filter(|id| vocab.bytes(*id) == Some(&[byte as u8][..]))
        });
        let mut places = vec![NONE; vocab.real()];
        (0..).zip(&order).for_each(|(place, id)| places[*id as usize] = place);
        Self { vocab, order, places, single, firsts }
    }

    /// All tokens, in their order.
    pub(super) fn order(&self) -> &[TokenId] {
        &self.order
    }

    pub(super) fn all(&self) -> Range<usize> {
        0..self.order.len()
    }

    pub(super) fn token(&self, index: usize) -> TokenId {
        self.order[index]
    }

    /// The place of a token of text.
    pub(super) fn index(&self, token: TokenId) -> Option<usize> {
        self.places.get(token as usize).copied().filter(|place| *place != NONE).map(|place| place as usize)
    }

    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        self.vocab.bytes(self.order[index]).unwrap_or_default()
    }

    /// The token that consists of this byte.
    pub(super) fn single(&self, byte: u8) -> Option<TokenId> {
        self.single[usize::from(byte)]
    }

    /// The tokens that begin with a byte.
    pub(super) fn first(&self, byte: u8) -> Range<usize> {
        self.firsts[usize::from(byte)]..self.firsts[usize::from(byte) + 1]
    }

    /// Of tokens that have the first `depth` bytes in common, those whose next byte is this one.
    pub(super) fn narrow(&self, range: Range<usize>, depth: usize, byte: u8) -> Range<usize> {
        if depth == 0 && range == self.all() {
            return self.first(byte);
        }
        let next = |id: &TokenId| self.vocab.bytes(*id).and_then(|bytes| bytes.get(depth)).copied();
        let tokens = &self.order[range.clone()];
        let start = tokens.partition_point(|id| next(id) < Some(byte));
        let end = tokens.partition_point(|id| next(id) <= Some(byte));
        range.start + start..range.start + end
    }

    /// Of tokens that have the first `depth` bytes in common, those that have no more bytes, and those that have.
    pub(super) fn split(&self, range: Range<usize>, depth: usize) -> (Range<usize>, Range<usize>) {
        let tokens = &self.order[range.clone()];
        let whole = |id: &TokenId| self.vocab.bytes(*id).is_some_and(|bytes| bytes.len() == depth);
        let at = range.start + tokens.iter().take_while(|id| whole(id)).count();
        (range.start..at, at..range.end)
    }

    /// Whether a token begins with these bytes and has more.
    pub(super) fn has_longer(&self, bytes: impl Iterator<Item = u8>) -> bool {
        let (mut range, mut depth) = (self.all(), 0);
        for byte in bytes {
            range = self.narrow(range, depth, byte);
            depth += 1;
            if range.is_empty() {
                return false;
            }
        }
        !self.split(range, depth).1.is_empty()
    }

    /// The longest token that these bytes begin with, and its length.
    pub(super) fn longest(&self, bytes: impl Iterator<Item = u8>) -> Option<(TokenId, usize)> {
        let (mut range, mut longest) = (self.all(), None);
        for (depth, byte) in bytes.enumerate() {
            range = self.narrow(range, depth, byte);
            let whole = self.split(range.clone(), depth + 1).0;
            longest = whole.into_iter().next().map(|index| (self.token(index), depth + 1)).or(longest);
            if range.is_empty() {
                break;
            }
        }
        longest
    }
}
