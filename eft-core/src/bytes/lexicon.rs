use std::ops::Range;

use crate::canonical::Canonical;
use crate::{TokenId, Vocab};

/// The tokens of text, in the order of their bytes: those that begin with the same bytes are neighbours.
pub(super) struct Lexicon {
    order: Vec<TokenId>,
    /// The bytes of the tokens in their order, one after another, and where those of each token start. Searches among
    /// neighbours read memory that is near.
    bytes: Vec<u8>,
    starts: Vec<usize>,
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
    pub(super) fn new(vocab: &Vocab, canonical: &dyn Canonical) -> Self {
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
        let mut bytes = Vec::new();
        let mut starts = vec![0];
        for id in &order {
            bytes.extend_from_slice(vocab.bytes(*id).unwrap_or_default());
            starts.push(bytes.len());
        }
        Self { order, bytes, starts, places, single, firsts }
    }

    /// The number of tokens of the vocabulary, also those that are not of text.
    pub(super) fn vocab(&self) -> usize {
        self.places.len()
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
        &self.bytes[self.starts[index]..self.starts[index + 1]]
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
        let start = self.search(range.clone(), |index| self.bytes(index).get(depth).copied() < Some(byte));
        start..self.search(start..range.end, |index| self.bytes(index).get(depth).copied() <= Some(byte))
    }

    /// Of tokens that have the first `depth` bytes in common, those that have no more bytes, and those that have.
    pub(super) fn split(&self, range: Range<usize>, depth: usize) -> (Range<usize>, Range<usize>) {
        let at = self.search(range.clone(), |index| self.bytes(index).len() == depth);
        (range.start..at, at..range.end)
    }

    /// Of tokens that have the first `depth` bytes in common, and more, those with each next byte.
    pub(super) fn runs(&self, range: Range<usize>, depth: usize) -> impl Iterator<Item = (u8, Range<usize>)> {
        let mut left = range;
        std::iter::from_fn(move || {
            let start = left.start;
            let byte = (!left.is_empty()).then(|| self.bytes(start)[depth])?;
            left.start = self.search(left.clone(), |index| self.bytes(index)[depth] == byte);
            Some((byte, start..left.start))
        })
    }

    /// The first place in a range of which something is not true, where it is true of all places before.
    fn search(&self, range: Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        low
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
