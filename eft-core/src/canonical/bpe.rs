use std::collections::HashMap;

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
    /// The tokens at the right end of a token while its bytes are merged, and those at the left end.
    right: Vec<Box<[Stage]>>,
    left: Vec<Box<[Stage]>>,
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

/// The token at one end of a token whose bytes are being merged.
#[derive(Debug, Clone, Copy)]
struct Stage {
    token: TokenId,
    /// The highest rank among the merges inside the token that come before this stage and after the one before it.
    after: u32,
}

/// No merge has this rank.
const NEVER: u32 = u32::MAX;

impl Bpe {
    /// Creates the encoding from its merges, in the order of their ranks: pairs of tokens, whose bytes together are those of
    /// the token that they become. All ordinary tokens of one byte are where encoding starts.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if a merge has a token without bytes, or makes a token that does not exist.
    pub fn new(vocab: &Vocab, merges: impl IntoIterator<Item = (TokenId, TokenId)>) -> Result<Self> {
        let ids = 0..vocab.real() as TokenId;
        let ordinary = ids.filter(|id| !vocab.is_special(*id));
        let by_bytes: HashMap<&[u8], TokenId> =
            ordinary.clone().rev().filter_map(|id| Some((vocab.bytes(id)?, id))).collect();
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
            right: vec![Box::default(); vocab.real()],
            left: vec![Box::default(); vocab.real()],
        };
        for token in ordinary {
            let Some(run) = bpe.run(vocab.bytes(token).unwrap_or_default()) else { continue };
            if let [last] = run.tokens[..]
                && last == token
            {
                let at = token as usize;
                bpe.kinds[at] = Kind::Merged;
                (bpe.left[at], bpe.right[at]) = (run.left.into(), run.right.into());
            }
        }
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
        let (Some(a), Some(b)) = (self.right.get(left as usize), self.left.get(right as usize)) else {
            return false;
        };
        let (Some(mut x), Some(mut y)) = (a.first(), b.first()) else { return false };
        if self.kinds[left as usize] != Kind::Merged || self.kinds[right as usize] != Kind::Merged {
            return false;
        }
        let (mut a, mut b) = (a[1..].iter(), b[1..].iter());
        let (mut next_a, mut next_b) = (a.next(), b.next());
        loop {
            let (until_a, until_b) = (next_a.map_or(NEVER, |s| s.after), next_b.map_or(NEVER, |s| s.after));
            // Of equal ranks, the leftmost merge comes first: one inside the left token before the one across the boundary,
            // and that before one inside the right token.
            if let Some(merge) = self.merge(x.token, y.token)
                && merge.rank < until_a
                && merge.rank <= until_b
            {
                return false;
            }
            match (next_a, next_b) {
                (None, None) => return true,
                (Some(stage), _) if until_a <= until_b => (x, next_a) = (stage, a.next()),
                (_, Some(stage)) => (y, next_b) = (stage, b.next()),
                (Some(stage), None) => (x, next_a) = (stage, a.next()),
            }
        }
    }

    /// For each token whether something at the right end of this one merges with it. A token in whose [stages](Stage) there is
    /// none of these stays as it is beside this one.
    fn merges_with(&self, left: TokenId) -> Vec<bool> {
        let mut merges_with = vec![false; self.vocab.real()];
        for stage in self.right.get(left as usize).into_iter().flatten() {
            let range =
                self.starts[stage.token as usize] as usize..self.starts[stage.token as usize + 1] as usize;
            self.merges[range].iter().for_each(|merge| merges_with[merge.right as usize] = true);
        }
        merges_with
    }

    /// Returns [`keeps`](Self::keeps) for many right tokens, which is faster than one by one.
    pub(super) fn keeps_after(&self, left: TokenId) -> impl Fn(TokenId) -> bool {
        let merges_with = self.merges_with(left);
        let is_merged = |token: TokenId| self.kinds.get(token as usize) == Some(&Kind::Merged);
        let left_is_merged = is_merged(left);
        move |right| {
            let may_merge = |stage: &Stage| merges_with[stage.token as usize];
            left_is_merged
                && is_merged(right)
                && (!self.left[right as usize].iter().any(may_merge) || self.keeps(left, right))
        }
    }

    fn merge(&self, left: TokenId, right: TokenId) -> Option<Merge> {
        let range = self.starts[left as usize] as usize..self.starts[left as usize + 1] as usize;
        let merges = &self.merges[range];
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
