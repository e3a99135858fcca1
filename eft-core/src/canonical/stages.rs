//! The tokens at the ends of a token while its bytes are merged: its *stages* there. They tell whether two tokens stay as they are
//! side by side.
use super::lists::Lists;
use crate::TokenId;

/// The token at one end of a token whose bytes are being merged. Stages are in the order of `after`, which [`LeftStages`] relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stage {
    /// The highest rank among the merges inside the token that come before this stage and after the one before it.
    pub(super) after: u32,
    pub(super) token: TokenId,
}

/// No merge has this rank.
pub(super) const NEVER: u32 = u32::MAX;

/// The stages at the left end of all tokens, as a tree: those of most tokens begin with all stages of a shorter one. If a stage
/// merges with a token on its left, so do all tokens that stay in this stage for long enough. In the order of the tree, these are
/// neighbours, but for the token whose last stage it is.
#[derive(Debug, Clone)]
pub(super) struct LeftStages {
    /// A node is followed by those below it.
    nodes: Vec<Node>,
    /// The nodes directly below each node, in the order of [`Stage::after`].
    below: Lists<u32>,
    /// The nodes whose stage is each token.
    of_token: Lists<u32>,
    /// The node of each token's last stage, which is the token itself; [`NONE`] of a token that merges do not make.
    last: Vec<u32>,
    /// The tokens in the order of their last nodes.
    tokens: Vec<TokenId>,
}

/// A stage, and those before it.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The node of the stage before, or [`NONE`].
    before: u32,
    stage: Stage,
    /// One more than the highest rank among the merges inside the token up to this stage; 0 of a first stage. Until then, a token on the
    /// left has made all of its merges that have lower ranks and were possible.
    over: u32,
    /// The tokens whose last nodes are this one and those below it: a range of [`LeftStages::tokens`]. If a token's last node is this
    /// one, it is the first of them.
    tokens: (u32, u32),
}

const NONE: u32 = u32::MAX;

impl LeftStages {
    /// Takes the stages of each token; none of those that merges do not make.
    pub(super) fn new(stages: &[Vec<Stage>]) -> Self {
        let mut sorted: Vec<_> = (0..).zip(stages).filter(|(_, stages)| !stages.is_empty()).collect();
        // Stages that others begin with come before these.
        sorted.sort_by_key(|(_, stages)| *stages);
        let (mut nodes, mut tokens, mut last) = (Vec::<Node>::new(), Vec::new(), vec![NONE; stages.len()]);
        let mut path: Vec<u32> = Vec::new();
        for (token, stages) in sorted {
            let in_common = path.iter().zip(stages);
            let in_common = in_common.take_while(|(node, stage)| nodes[**node as usize].stage == **stage);
            path.truncate(in_common.count());
            for stage in &stages[path.len()..] {
                let before = path.last().copied().unwrap_or(NONE);
                let over = nodes.get(before as usize).map_or(0, |node| node.over.max(stage.after + 1));
                path.push(nodes.len() as u32);
                nodes.push(Node { before, stage: *stage, over, tokens: (tokens.len() as u32, 0) });
            }
            tokens.push(token);
            last[token as usize] = path.last().copied().unwrap_or(NONE);
            path.iter().for_each(|node| nodes[*node as usize].tokens.1 = tokens.len() as u32);
        }
        let below = Lists::grouped(nodes.len(), nodes.iter().map(|node| node.before));
        let of_token = Lists::grouped(stages.len(), nodes.iter().map(|node| node.stage.token));
        Self { nodes, below, of_token, last, tokens }
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

    /// Calls a function with all tokens that have stages and do not stay as they are beside a left token, some of them more than once.
    /// Takes the stages at the right end of the left token. `merges` returns the tokens that merge with such a stage on its right, and
    /// the ranks of these merges.
    ///
    /// Most tokens merge with no stage of the left token, so this takes a small part of the time of asking [`stay`](Self::stay) for each.
    pub(super) fn each_that_merges<M: Iterator<Item = (TokenId, u32)>>(
        &self,
        left: &[Stage],
        merges: impl Fn(TokenId) -> M,
        mut merged: impl FnMut(&[TokenId]),
    ) {
        // The highest rank among the merges inside the left token before it reaches the stage.
        let mut before_left = 0;
        for (at, stage) in left.iter().enumerate() {
            let until_left = left.get(at + 1).map_or(NEVER, |next| next.after);
            // Which of equal ranks comes first is decided as in `Left::leave`.
            for (token, rank) in merges(stage.token).filter(|(_, rank)| *rank < until_left) {
                for index in self.of_token.of(token) {
                    let node = &self.nodes[*index as usize];
                    // The stage of the left token when this node's stage is reached.
                    let reached = left.iter().skip(1).take_while(|next| next.after < node.over).count();
                    if at < reached {
                        continue;
                    }
                    if self.last[token as usize] == *index {
                        merged(&[token]);
                    }
                    // The next stage of the right token comes after the merge, and after the left token has reached its stage.
                    let least = if at == reached { rank } else { rank.max(before_left) };
                    let below = self.below.of(*index);
                    let late = below.partition_point(|node| self.nodes[*node as usize].stage.after < least);
                    if let Some(first) = below.get(late) {
                        let first = self.nodes[*first as usize].tokens.0;
                        merged(&self.tokens[first as usize..node.tokens.1 as usize]);
                    }
                }
            }
            before_left = before_left.max(until_left);
        }
    }
}

/// The left one of two tokens that stand side by side: its stages at the right end, and the rank of the merge of a stage, by its index,
/// and a token.
pub(super) struct Left<'a, R> {
    pub(super) stages: &'a [Stage],
    pub(super) rank: R,
}

impl<R: Fn(usize, TokenId) -> u32> Left<'_, R> {
    /// The stage of this token when the right one leaves the stage `token`, which takes a merge of the rank `until`, if this one
    /// was at stage `at` when it was reached; nothing if the two merge before.
    fn leave(&self, mut at: usize, token: TokenId, until: u32) -> Option<usize> {
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
}
