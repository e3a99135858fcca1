//! The covers of a text, without their probabilities: which token sequences can be the beginning of it.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::lexicon::Lexicon;
use super::node::{Node, NodeRow};
use crate::canonical::{Canonical, State};
use crate::{Error, Result, TokenId};

/// One symbol of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Byte(u8),
    /// A token without text.
    Control(TokenId),
}

/// The covers of a text that begin with the same whole tokens: a sequence whose bytes end within the text or at its end,
/// and the tokens that can follow it and reach past the end.
#[derive(Clone)]
pub(super) struct Cover {
    pub(super) node: Arc<Node>,
    /// The tokens whose first `depth` bytes are the rest of the text, as a range of the lexicon. They have more bytes.
    pub(super) range: Range<usize>,
    /// The number of bytes of the text after the tokens of the node.
    pub(super) depth: usize,
    /// The log-probability of the node's tokens after the root, if all sequences are followed. Otherwise 0: canonical
    /// sequences are followed before their probabilities are known.
    pub(super) log_weight: f64,
}

/// Finds the covers of texts.
pub(super) struct Walker {
    pub(super) lexicon: Lexicon,
    pub(super) canonical: Arc<dyn Canonical>,
    /// The name of the model, for errors.
    pub(super) name: String,
    /// Which tokens may follow, for some states that occurred: words and punctuation come again.
    allowed: Mutex<HashMap<State, Arc<[bool]>>>,
}

/// For how many states it is remembered which tokens may follow.
const STATES: usize = 64;

impl Walker {
    pub(super) fn new(lexicon: Lexicon, canonical: Arc<dyn Canonical>, name: String) -> Self {
        Self { lexicon, canonical, name, allowed: Mutex::default() }
    }

    /// Which tokens of the vocabulary may follow.
    pub(super) fn allowed(&self, state: State) -> Arc<[bool]> {
        let known = || self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowed) = known().get(&state) {
            return allowed.clone();
        }
        let allowed: Arc<[bool]> = self.canonical.allowed(state, self.lexicon.vocab()).into();
        let mut known = known();
        if known.len() >= STATES {
            known.clear();
        }
        known.insert(state, allowed.clone());
        allowed
    }

    /// The covers of no text after a sequence.
    pub(super) fn start(&self, node: Arc<Node>) -> Vec<Cover> {
        vec![self.after(node, 0.0)]
    }

    /// The cover of no text after a sequence of this log-probability.
    pub(super) fn after(&self, node: Arc<Node>, log_weight: f64) -> Cover {
        Cover { node, range: self.lexicon.all(), depth: 0, log_weight }
    }

    /// The covers of a text and one more symbol, from those of the text. Some of them may be impossible: see
    /// [`possible`](Self::possible).
    ///
    /// No tokenizer makes some texts, such as bytes that are not UTF-8. They are then spelled by tokens of one byte, and
    /// what follows is as free as the beginning of a text.
    pub(super) fn step(&self, covers: &[Cover], symbol: Symbol) -> Result<Vec<Cover>> {
        let next = match symbol {
            Symbol::Byte(byte) => self.byte(covers, byte),
            Symbol::Control(token) => {
                let ended = |cover: &&Cover| cover.depth == 0 && self.canonical.may_end(cover.node.state());
                let ended = covers.iter().filter(ended);
                ended.flat_map(|c| self.start(c.node.child(token, self.canonical.start()))).collect()
            }
        };
        if next.is_empty() { self.spelled(covers, Some(symbol)) } else { Ok(next) }
    }

    /// The covers of one more byte; none if no tokenizer makes the text.
    pub(super) fn byte(&self, covers: &[Cover], byte: u8) -> Vec<Cover> {
        let mut next = Vec::new();
        for cover in covers {
            let depth = cover.depth + 1;
            let range = self.lexicon.narrow(cover.range.clone(), cover.depth, byte);
            let (whole, longer) = self.lexicon.split(range, depth);
            if !longer.is_empty() {
                next.push(Cover { range: longer, depth, ..cover.clone() });
            }
            for index in whole {
                let token = self.lexicon.token(index);
                if let Some(state) = self.canonical.after(cover.node.state(), token) {
                    next.extend(self.start(cover.node.child(token, state)));
                }
            }
        }
        next
    }

    /// The covers without those after whose tokens none of the longer ones may follow. If all are of that kind, the text is
    /// one that no tokenizer makes, and is spelled by tokens of one byte.
    pub(super) fn possible(&self, covers: &[Cover]) -> Result<Vec<Cover>> {
        let possible: Vec<_> = covers.iter().filter(|cover| self.is_possible(cover)).cloned().collect();
        if possible.is_empty() { self.spelled(covers, None) } else { Ok(possible) }
    }

    fn is_possible(&self, cover: &Cover) -> bool {
        // A distribution that has a token with a probability answers sooner.
        let is_known =
            |row: Arc<NodeRow>| row.text[cover.range.clone()].iter().any(|p| *p > f32::NEG_INFINITY);
        cover.depth == 0
            || cover.node.row().is_some_and(is_known)
            || self.allows_any(cover, cover.range.clone())
    }

    /// Whether a token that may follow begins with the rest of the text and this byte.
    pub(super) fn can_follow(&self, cover: &Cover, byte: u8) -> bool {
        self.allows_any(cover, self.lexicon.narrow(cover.range.clone(), cover.depth, byte))
    }

    /// Whether one of some tokens may follow.
    fn allows_any(&self, cover: &Cover, tokens: Range<usize>) -> bool {
        self.canonical.allows_any(cover.node.state(), &self.lexicon.order()[tokens])
    }

    /// One cover of a text that no tokenizer makes, and of one more symbol: the sequence that covers most of the text, and
    /// tokens of one byte.
    pub(super) fn spelled(&self, covers: &[Cover], symbol: Option<Symbol>) -> Result<Vec<Cover>> {
        let Some(cover) = covers.iter().min_by_key(|cover| cover.depth) else { return Ok(Vec::new()) };
        let start = self.canonical.start();
        let rest = match cover.depth {
            0 => &[],
            depth => &self.lexicon.bytes(cover.range.start)[..depth],
        };
        let (byte, control) = match symbol {
            Some(Symbol::Byte(byte)) => (Some(byte), None),
            Some(Symbol::Control(token)) => (None, Some(token)),
            None => (None, None),
        };
        let mut node = cover.node.clone();
        for byte in rest.iter().copied().chain(byte) {
            let token = self.lexicon.single(byte).ok_or_else(|| self.no_token_for(byte))?;
            node = node.child(token, start);
        }
        Ok(self.start(control.into_iter().fold(node, |node, token| node.child(token, start))))
    }

    /// The error for a byte that no token sequence spells.
    pub(super) fn no_token_for(&self, byte: u8) -> Error {
        let what =
            format!("the byte {byte:#04x} here: its tokenizer makes no such text, and has no token for it");
        Error::Unsupported { who: self.name.clone(), what }
    }
}

/// The longest token sequence that all covers begin with.
pub(super) fn trunk(covers: &[Cover]) -> Option<Arc<Node>> {
    let (first, rest) = covers.split_first()?;
    Some(rest.iter().fold(first.node.clone(), |trunk, cover| Node::common(&trunk, &cover.node)))
}
