use std::collections::HashMap;

use super::stages::{Left, LeftStages, NEVER, NO_MERGES, RightStages, Stage};
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
    /// The merges by their left token: `merges[starts[left]..starts[left + 1]]`, in the order of the right tokens.
    starts: Vec<u32>,
    merges: Vec<Merge>,
    kinds: Vec<Kind>,
    /// The tokens at the right end of each token while its bytes are merged, and those at the left end.
    right: RightStages,
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
        let mut found = Vec::new();
        for (rank, (left, right)) in (0..).zip(merges) {
            let (Some(a), Some(b)) = (vocab.bytes(left), vocab.bytes(right)) else {
                return Err(bad(format!(
                    "merge {rank} is of the tokens {left} and {right}, which it does not have"
                )));
            };
            let made = by_bytes.get(&[a, b].concat()[..]).copied();
            let made = made.ok_or_else(|| {
                let (left, right) = (vocab.describe(left), vocab.describe(right));
                bad(format!("merge {rank}, of {left} and {right}, makes a token that it does not have"))
            })?;
            found.push((left, Merge { right, rank, made }));
        }
        found.sort_by_key(|(left, merge)| (*left, merge.right, merge.rank));
        // Of two equal merges, the first in rank counts.
        found.dedup_by_key(|(left, merge)| (*left, merge.right));
        let mut starts = vec![0; vocab.real() + 1];
        found.iter().for_each(|(left, _)| starts[*left as usize + 1] += 1);
        (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
        let mut bytes = [None; 256];
        for byte in 0..=u8::MAX {
            bytes[usize::from(byte)] = by_bytes.get(&[byte][..]).copied();
        }
        let merges = found.into_iter().map(|(_, merge)| merge).collect();
        let mut bpe = Self {
            vocab: vocab.clone(),
            bytes,
            starts,
            merges,
            kinds: vec![Kind::Never; vocab.real()],
            right: RightStages::new(),
            left: LeftStages::new(&[]),
        };
        let mut at_left = Vec::new();
        for token in ids {
            let run = is_ordinary(&token).then(|| bpe.run(vocab.bytes(token).unwrap_or_default())).flatten();
            let run = run.filter(|run| run.tokens == [token]);
            let (left, right) = run.map(|run| (run.left, run.right)).unwrap_or_default();
            if !left.is_empty() {
                bpe.kinds[token as usize] = Kind::Merged;
            }
            let first = vocab.bytes(token).and_then(|bytes| bytes.first().copied());
            at_left.push((first.unwrap_or(0), left));
            bpe.right.push(&right);
        }
        bpe.left = LeftStages::new(&at_left);
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

    fn is_merged(&self, token: TokenId) -> bool {
        self.kinds.get(token as usize) == Some(&Kind::Merged)
    }

    /// Returns [`keeps`](Self::keeps) for each right token, which is faster than one by one, where its first byte is among the chosen
    /// ones. For the others it is `false`.
    pub(super) fn all_kept(&self, left: TokenId, first_bytes: &[bool; 256]) -> Vec<bool> {
        let stages = if self.is_merged(left) { self.right.of(left) } else { &[] };
        if stages.is_empty() {
            return vec![false; self.vocab.real()];
        }
        // The ranks of the merges of each stage and a token, side by side, and where those of each token are. Those of tokens
        // that do not merge with any stage are the first.
        let mut ranks = vec![NEVER; stages.len()];
        let mut places = vec![NO_MERGES; self.vocab.real()];
        for (index, stage) in stages.iter().enumerate() {
            for merge in self.merges_of(stage.token) {
                let place = &mut places[merge.right as usize];
                if *place == NO_MERGES {
                    *place = ranks.len() as u32;
                    ranks.resize(ranks.len() + stages.len(), NEVER);
                }
                ranks[*place as usize + index] = merge.rank;
            }
        }
        let rank = |stage: usize, place: u32| ranks[place as usize + stage];
        let mut kept = self.left.all_that_stay(&Left { stages, rank }, &places, first_bytes);
        // Some tokens that merges make are found before anything is merged.
        kept.iter_mut().zip(&self.kinds).for_each(|(kept, kind)| *kept &= *kind == Kind::Merged);
        kept
    }

    /// The merges of a left token, in the order of the right tokens.
    fn merges_of(&self, left: TokenId) -> &[Merge] {
        &self.merges[self.starts[left as usize] as usize..self.starts[left as usize + 1] as usize]
    }

    fn merge(&self, left: TokenId, right: TokenId) -> Option<Merge> {
        let merges = self.merges_of(left);
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
