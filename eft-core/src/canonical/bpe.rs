use std::collections::HashMap;

use super::lists::Lists;
use super::stages::{Left, LeftStages, NEVER, Stage};
use crate::{Error, Result, TokenId, Vocab};

/// The merges of a byte pair encoding, which tell which tokens the bytes of a piece become.
///
/// Encoding starts with one token for each byte. Of all neighbouring tokens that have a merge, those with the merge of
/// the lowest rank are merged, the leftmost first, until none is left.
///
/// ```
/// use eft_core::Vocab;
/// use eft_core::canonical::Bpe;
///
/// let vocab = Vocab::new("v", ["a", "b", "c", "ab", "bc"])?;
/// let bpe = Bpe::new(&vocab, [(1, 2), (0, 1)])?; // b c → bc comes first
/// assert_eq!(bpe.encode(b"abc"), Some(vec![0, 4]));
/// assert!(bpe.keeps(0, 4) && !bpe.keeps(3, 2));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bpe {
    vocab: Vocab,
    bytes: [Option<TokenId>; 256],
    /// The merges of each left token, in the order of the right tokens.
    merges: Lists<Merge>,
    kinds: Vec<Kind>,
    /// The tokens at the right end of each token while its bytes are merged, and those at the left end.
    right: Lists<Stage>,
    left: LeftStages,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    right: TokenId,
    rank: u32,
    made: TokenId,
}

/// How a token comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The merges make it of its bytes.
    Merged,
    /// The merges do not make it, but a piece that consists of exactly its bytes becomes this token.
    WholePiece,
    /// No text becomes this token.
    Never,
}

impl Bpe {
    /// Creates the encoding from its merges, in the order of their ranks: pairs of tokens, whose bytes together are those of
    /// the token that they become. All ordinary tokens of one byte are where encoding starts.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if a merge has a token without bytes, or makes a token that does not exist.
    pub fn new(vocab: &Vocab, merges: impl IntoIterator<Item = (TokenId, TokenId)>) -> Result<Self> {
        let ids = 0..vocab.real() as TokenId;
        let is_ordinary = |id: &TokenId| !vocab.is_special(*id);
        let by_bytes: HashMap<&[u8], TokenId> =
            ids.clone().filter(is_ordinary).rev().filter_map(|id| Some((vocab.bytes(id)?, id))).collect();
        let bad = |reason: String| Error::BadVocab { vocab: vocab.name().into(), reason };
        let mut of_left = vec![Vec::new(); vocab.real()];
        for (rank, (left, right)) in (0..).zip(merges) {
            let bytes = |token: TokenId| vocab.bytes(token).filter(|_| (token as usize) < vocab.real());
            let (Some(a), Some(b)) = (bytes(left), bytes(right)) else {
                return Err(bad(format!(
                    "merge {rank} is of the tokens {left} and {right}, which it does not have"
                )));
            };
            let made = by_bytes.get(&[a, b].concat()[..]).copied();
            let made = made.ok_or_else(|| {
                let (left, right) = (vocab.describe(left), vocab.describe(right));
                bad(format!("merge {rank}, of {left} and {right}, makes a token that it does not have"))
            })?;
            of_left[left as usize].push(Merge { right, rank, made });
        }
        for merges in &mut of_left {
            merges.sort_by_key(|merge| (merge.right, merge.rank));
            // Of two equal merges, the first in rank counts.
            merges.dedup_by_key(|merge| merge.right);
        }
        let mut bytes = [None; 256];
        for byte in 0..=u8::MAX {
            bytes[usize::from(byte)] = by_bytes.get(&[byte][..]).copied();
        }
        let mut bpe = Self {
            vocab: vocab.clone(),
            bytes,
            merges: Lists::new(of_left),
            kinds: Vec::new(),
            right: Lists::new([]),
            left: LeftStages::new(&[]),
        };
        let stages = |token| {
            let run = bpe.run(vocab.bytes(token).filter(|_| is_ordinary(&token))?)?;
            (run.tokens == [token]).then_some((run.left, run.right))
        };
        let (left, right): (Vec<_>, Vec<_>) = ids.map(|token| stages(token).unwrap_or_default()).unzip();
        let kind = |stages: &Vec<_>| if stages.is_empty() { Kind::Never } else { Kind::Merged };
        bpe.kinds = left.iter().map(kind).collect();
        (bpe.left, bpe.right) = (LeftStages::new(&left), Lists::new(right));
        Ok(bpe)
    }

    /// Makes a piece that consists of exactly a token's bytes this token, also where the merges would not. Tokenizers
    /// call this `ignore_merges`. It matters only for [tokens that merges do not make](Self::unmerged).
    #[must_use]
    pub fn with_whole_pieces(mut self) -> Self {
        for token in self.unmerged() {
            self.kinds[token as usize] = Kind::WholePiece;
        }
        self
    }

    /// Returns the ordinary tokens that the merges make of no text.
    pub fn unmerged(&self) -> Vec<TokenId> {
        let ids = 0..self.vocab.real() as TokenId;
        let has_text = |id: &TokenId| {
            !self.vocab.is_special(*id) && self.vocab.bytes(*id).is_some_and(|bytes| !bytes.is_empty())
        };
        ids.filter(has_text).filter(|id| self.kinds[*id as usize] != Kind::Merged).collect()
    }

    /// Removes tokens that a tokenizer finds in a text before it merges anything.
    #[must_use]
    pub fn without(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        for token in tokens {
            if let Some(kind) = self.kinds.get_mut(token as usize) {
                *kind = Kind::Never;
            }
        }
        self
    }

    /// Returns the vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Returns whether some text becomes this token.
    pub fn makes(&self, token: TokenId) -> bool {
        self.kinds.get(token as usize).is_some_and(|kind| *kind != Kind::Never)
    }

    /// Returns what a piece with these bytes becomes; `None` if there is no token for one of the bytes.
    pub fn encode(&self, piece: &[u8]) -> Option<Vec<TokenId>> {
        Some(self.run(piece)?.tokens)
    }

    /// Returns whether two tokens that stand side by side in a piece stay as they are: whether they are what their bytes
    /// together become.
    pub fn keeps(&self, left: TokenId, right: TokenId) -> bool {
        let stages = self.right.of(left);
        let rank =
            |stage: usize, token: TokenId| self.merge(stages[stage].token, token).map_or(NEVER, |m| m.rank);
        self.is_merged(left) && self.is_merged(right) && self.left.stay(&Left { stages, rank }, right)
    }

    /// Returns whether the merges make this token of its bytes, and it is not found in a text before they do.
    pub(super) fn is_merged(&self, token: TokenId) -> bool {
        self.kinds.get(token as usize) == Some(&Kind::Merged)
    }

    /// Calls a function with all tokens that merges make, but that do not stay as they are beside a left token which merges make, some of
    /// them more than once.
    pub(super) fn each_not_kept(&self, left: TokenId, not_kept: impl FnMut(&[TokenId])) {
        let merges = |stage| self.merges.of(stage).iter().map(|merge| (merge.right, merge.rank));
        self.left.each_that_merges(self.right.of(left), merges, not_kept);
    }

    fn merge(&self, left: TokenId, right: TokenId) -> Option<Merge> {
        let merges = self.merges.of(left);
        merges.binary_search_by_key(&right, |merge| merge.right).ok().map(|index| merges[index])
    }

    /// Merges bytes, and records what happens at both ends.
    fn run(&self, bytes: &[u8]) -> Option<Run> {
        let mut tokens: Vec<_> =
            bytes.iter().map(|byte| self.bytes[usize::from(*byte)]).collect::<Option<_>>()?;
        let stage = |token: Option<&TokenId>, after| token.map(|token| Stage { token: *token, after });
        let mut left = Vec::from_iter(stage(tokens.first(), 0));
        let mut right = Vec::from_iter(stage(tokens.last(), 0));
        let (mut since_left, mut since_right) = (0, 0);
        loop {
            let pairs = tokens.windows(2).enumerate();
            let merges = pairs.filter_map(|(at, pair)| Some((at, self.merge(pair[0], pair[1])?)));
            let Some((at, merge)) = merges.min_by_key(|(at, merge)| (merge.rank, *at)) else { break };
            tokens[at] = merge.made;
            tokens.remove(at + 1);
            since_left = merge.rank.max(since_left);
            since_right = merge.rank.max(since_right);
            if at == 0 {
                left.push(Stage { token: merge.made, after: std::mem::take(&mut since_left) });
            }
            if at + 1 == tokens.len() {
                right.push(Stage { token: merge.made, after: std::mem::take(&mut since_right) });
            }
        }
        Some(Run { tokens, left, right })
    }
}

/// The tokens that bytes become, and the tokens that were at both ends in the meantime.
struct Run {
    tokens: Vec<TokenId>,
    left: Vec<Stage>,
    right: Vec<Stage>,
}
