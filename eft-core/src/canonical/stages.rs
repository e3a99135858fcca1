//! The tokens at the ends of a token while its bytes are merged: its *stages* there. They tell whether two tokens stay as they are
//! side by side.
use std::collections::HashMap;
use std::ops::Range;

use crate::TokenId;

/// The token at one end of a token whose bytes are being merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stage {
    pub(super) token: TokenId,
    /// The highest rank among the merges inside the token that come before this stage and after the one before it.
    pub(super) after: u32,
}

/// No merge has this rank.
pub(super) const NEVER: u32 = u32::MAX;

/// The stages at the right end of all tokens, one after another. There are none of a token that merges do not make.
#[derive(Debug, Clone)]
pub(super) struct RightStages {
    /// Where those of each token start; one more entry for their end.
    starts: Vec<u32>,
    all: Vec<Stage>,
}

impl RightStages {
    pub(super) fn new() -> Self {
        Self { starts: vec![0], all: Vec::new() }
    }

    /// Adds those of the next token.
    pub(super) fn push(&mut self, stages: &[Stage]) {
        self.all.extend_from_slice(stages);
        self.starts.push(self.all.len() as u32);
    }

    pub(super) fn of(&self, token: TokenId) -> &[Stage] {
        match self.starts.get(token as usize..token as usize + 2) {
            Some(&[start, end]) => &self.all[start as usize..end as usize],
            _ => &[],
        }
    }
}

/// The stages at the left end of all tokens, as a tree: those of most tokens begin with all stages of a shorter one, so that a
/// question about all tokens is answered once for what they have in common.
#[derive(Debug, Clone)]
pub(super) struct LeftStages {
    /// A node is behind that of the stage before it, and those of tokens with the same first byte are neighbours.
    nodes: Vec<Node>,
    /// The nodes of each first byte.
    of_byte: Vec<Range<usize>>,
    /// The node of each token's last stage, which is the token itself; [`NONE`] of a token that merges do not make.
    last: Vec<u32>,
}

/// A stage, and those before it.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The node of the stage before, or [`NONE`].
    before: u32,
    stage: Stage,
    /// Whether this is the last stage of a token.
    is_last: bool,
}

const NONE: u32 = u32::MAX;

impl LeftStages {
    /// Takes the first byte of each token, and its stages; none of those that merges do not make.
    pub(super) fn new(tokens: &[(u8, Vec<Stage>)]) -> Self {
        let mut sorted: Vec<_> = (0..tokens.len()).filter(|token| !tokens[*token].1.is_empty()).collect();
        sorted.sort_by_key(|token| tokens[*token].0);
        let mut sorted = sorted.into_iter().peekable();
        let (mut nodes, mut known) = (Vec::new(), HashMap::new());
        let mut last = vec![NONE; tokens.len()];
        let mut of_byte = Vec::with_capacity(256);
        for byte in 0..=u8::MAX {
            let start = nodes.len();
            while let Some(token) = sorted.next_if(|token| tokens[*token].0 == byte) {
                let mut before = NONE;
                for stage in &tokens[token].1 {
                    before = *known.entry((before, *stage)).or_insert_with(|| {
                        nodes.push(Node { before, stage: *stage, is_last: false });
                        (nodes.len() - 1) as u32
                    });
                }
                nodes[before as usize].is_last = true;
                last[token] = before;
            }
            of_byte.push(start..nodes.len());
        }
        Self { nodes, of_byte, last }
    }

    /// Whether a token has stages and stays as it is beside a left one.
    pub(super) fn stay<R: Fn(usize, TokenId) -> u32>(&self, left: &Left<'_, R>, token: TokenId) -> bool {
        let last = self.last.get(token as usize).copied().and_then(|node| self.nodes.get(node as usize));
        last.and_then(|last| left.leave(self.reach(left, last)?, token, NEVER)).is_some()
    }

    /// The stage of the left token when this one is reached; nothing if the two merge before.
    fn reach<R: Fn(usize, TokenId) -> u32>(&self, left: &Left<'_, R>, node: &Node) -> Option<usize> {
        match self.nodes.get(node.before as usize) {
            None => Some(0),
            Some(before) => left.leave(self.reach(left, before)?, before.stage.token, node.stage.after),
        }
    }

    /// [`stay`](Self::stay) for each token whose first byte is among the chosen ones; the others are not looked at. The ranks of a
    /// token's merges are found by its place, which is [`NO_MERGES`] for most tokens.
    pub(super) fn all_that_stay<R: Fn(usize, u32) -> u32>(
        &self,
        left: &Left<'_, R>,
        places: &[u32],
        chosen: &[bool; 256],
    ) -> Vec<bool> {
        /// The two tokens merge before a node is reached.
        const MERGED: u32 = u32::MAX;
        let mut stay = vec![false; self.last.len()];
        // For each node the stage of the left token when it is reached, and the place of its token.
        let mut reached: Vec<(u32, u32)> = Vec::new();
        for (nodes, _) in self.of_byte.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            reached.clear();
            reached.reserve(nodes.len());
            for Node { before, stage, is_last } in &self.nodes[nodes.clone()] {
                let at = match reached.get((*before as usize).wrapping_sub(nodes.start)) {
                    None => 0,
                    Some((MERGED, _)) => MERGED,
                    Some((at, NO_MERGES)) => left.advance(*at, stage.after),
                    Some((at, place)) => {
                        left.leave(*at as usize, *place, stage.after).map_or(MERGED, |at| at as u32)
                    }
                };
                let place = places[stage.token as usize];
                reached.push((at, place));
                if *is_last && at != MERGED {
                    let stays = place == NO_MERGES || left.leave(at as usize, place, NEVER).is_some();
                    stay[stage.token as usize] = stays;
                }
            }
        }
        stay
    }
}

/// The place of tokens that do not merge with any stage of the left token.
pub(super) const NO_MERGES: u32 = 0;

/// The left one of two tokens that stand side by side: its stages at the right end, and the rank of the merge of a stage, by its index,
/// and a token, by whatever stands for it.
pub(super) struct Left<'a, R> {
    pub(super) stages: &'a [Stage],
    pub(super) rank: R,
}

impl<R> Left<'_, R> {
    /// The stage of this token when the right one leaves the stage `token`, which takes a merge of the rank `until`, if this one
    /// was at stage `at` when it was reached; nothing if the two merge before.
    #[inline]
    fn leave<T: Copy>(&self, mut at: usize, token: T, until: u32) -> Option<usize>
    where
        R: Fn(usize, T) -> u32,
    {
        loop {
            let until_left = self.stages.get(at + 1).map_or(NEVER, |next| next.after);
            let rank = (self.rank)(at, token);
            // Of equal ranks, the leftmost merge comes first: one inside the left token before the one across the boundary,
            // and that before one inside the right token.
            if rank < until_left && rank <= until {
                return None;
            }
            if at + 1 >= self.stages.len() || until_left > until {
                return Some(at);
            }
            at += 1;
        }
    }

    /// The same where the right token does not merge with any stage of this one. It has no branches that are hard to predict.
    #[inline]
    fn advance(&self, mut at: u32, until: u32) -> u32 {
        for (stage, next) in (0..).zip(self.stages.iter().skip(1)) {
            at += u32::from(at == stage && next.after <= until);
        }
        at
    }
}
