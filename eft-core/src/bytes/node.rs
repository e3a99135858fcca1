use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::TokenId;
use crate::canonical::State;

/// A sequence of tokens, as its last token and the sequence before it. Sequences that begin alike share their beginning.
pub(super) struct Node {
    parent: Option<Arc<Node>>,
    token: TokenId,
    /// The number of tokens.
    depth: usize,
    state: State,
    row: Mutex<Option<Arc<NodeRow>>>,
    /// The sequences of one more token that something holds. So there is one of each, and its distribution is found again.
    children: Mutex<Vec<Weak<Node>>>,
}

/// The distribution of the token after a sequence, over the tokens that may follow.
pub(super) struct NodeRow {
    /// The log-probabilities of the tokens of text, in the order of the lexicon.
    pub(super) text: Vec<f32>,
    /// The log-probabilities of the special tokens of the byte source's vocabulary.
    pub(super) controls: Vec<f64>,
    /// The log-probabilities of the special tokens that these consist of.
    pub(super) special: Vec<(TokenId, f64)>,
    /// The probability that the next token begins with each byte.
    pub(super) first: Box<[f64; 256]>,
    /// Whether the model's scores were sound.
    pub(super) sound: bool,
}

impl NodeRow {
    /// The log-probability of a special token that is part of a control.
    pub(super) fn of_control(&self, token: TokenId) -> Option<f64> {
        self.special.iter().find(|(special, _)| *special == token).map(|(_, log_prob)| *log_prob)
    }
}

impl Node {
    /// The sequence of no tokens.
    pub(super) fn root(state: State) -> Arc<Self> {
        Arc::new(Self::new(None, TokenId::MAX, 0, state))
    }

    /// This sequence and one more token.
    pub(super) fn child(self: &Arc<Self>, token: TokenId, state: State) -> Arc<Self> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = None;
        children.retain(|child| match child.upgrade() {
            Some(child) => {
                if (child.token, child.state) == (token, state) {
                    known = Some(child);
                }
                true
            }
            None => false,
        });
        known.unwrap_or_else(|| {
            let child = Arc::new(Self::new(Some(self.clone()), token, self.depth + 1, state));
            children.push(Arc::downgrade(&child));
            child
        })
    }

    fn new(parent: Option<Arc<Self>>, token: TokenId, depth: usize, state: State) -> Self {
        Self { parent, token, depth, state, row: Mutex::default(), children: Mutex::default() }
    }

    pub(super) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    pub(super) fn token(&self) -> TokenId {
        self.token
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn row(&self) -> Option<Arc<NodeRow>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_row(&self, row: Option<Arc<NodeRow>>) {
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
    }

    /// The longest beginning that both have in common.
    pub(super) fn common(a: &Arc<Self>, b: &Arc<Self>) -> Arc<Self> {
        let (mut a, mut b) = (a, b);
        while !Arc::ptr_eq(a, b) {
            if a.depth >= b.depth {
                match &a.parent {
                    Some(parent) => a = parent,
                    None => break,
                }
            } else {
                match &b.parent {
                    Some(parent) => b = parent,
                    None => break,
                }
            }
        }
        a.clone()
    }

    /// The nodes from the one after `from`, which this one begins with, to this one.
    pub(super) fn path(self: &Arc<Self>, from: &Self) -> Vec<Arc<Self>> {
        let nodes = std::iter::successors(Some(self), |node| node.parent.as_ref());
        let mut path: Vec<_> = nodes.take_while(|node| node.depth > from.depth).cloned().collect();
        path.reverse();
        path
    }
}

/// Takes a long sequence apart without recursion, which would overflow the stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}
