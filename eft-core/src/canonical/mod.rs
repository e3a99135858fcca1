//! [`Canonical`]: which sequences of tokens a tokenizer makes of texts.
//!
//! A text can be written with many sequences of tokens, and a tokenizer makes exactly one of them, the *canonical* one.
//! Models are trained on canonical sequences only. [`Source::bytes`](crate::Source::bytes) needs to know which they are,
//! and asks the model's [`Renderer`](crate::Renderer) for a `Canonical`.
//!
//! A sequence is canonical, or the beginning of a canonical sequence, under two conditions:
//! * Tokenizers first cut a text into *pieces*, such as words, and no token reaches past the end of a piece. [`Pieces`]
//!   follows the pieces byte by byte, where the rule of cutting is one that it knows.
//! * Within a piece, each pair of neighbouring tokens is what the merges make of their bytes: [`Bpe::keeps`]. For byte
//!   pair encoding that is enough. Merges run in the order of their ranks, so the first merge across the boundary of two
//!   tokens, if there is one, happens in the bytes of these two alone as well.
//!
//! Whether a piece ends may depend on later text: of three spaces before a word, two are a piece, but of three spaces at
//! the end, all three are. Such a beginning is accepted as long as some continuation makes it canonical.
//!
//! ```
//! use eft_core::canonical::{Bpe, BpeTokens, Canonical, PieceRules, Pieces};
//! use eft_core::Vocab;
//!
//! let vocab = Vocab::new("v", ["a", "b", "c", "ab", "abc"])?;
//! let bpe = Bpe::new(&vocab, [(0, 1), (3, 2)])?; // a b → ab, ab c → abc
//! let tokens = BpeTokens::new(bpe, Pieces::new(PieceRules::whole()));
//! let after = |ids: &[u32]| ids.iter().try_fold(tokens.start(), |state, id| tokens.after(state, *id));
//! assert!(after(&[0, 2]).is_some()); // "ac" is written so
//! assert!(after(&[0, 1]).is_none()); // "ab" is one token
//! assert!(after(&[3, 2]).is_none()); // and so is "abc"
//! # Ok::<(), eft_core::Error>(())
//! ```
mod bpe;
mod bpe_tokens;
mod characters;
mod lists;
mod pieces;
mod rules;
mod stages;
mod states;

pub use bpe::Bpe;
pub use bpe_tokens::BpeTokens;
pub use characters::Characters;
pub use pieces::Pieces;
pub use rules::{Contractions, Numbers, PieceRules};

use std::sync::Arc;

use crate::{TokenId, Vocab};

/// Which sequences of tokens a tokenizer makes of texts. See the [module](self).
///
/// Tokens that are not made of text, such as `<|im_end|>`, are none of its business: a sequence begins after one of them,
/// and ends before the next.
pub trait Canonical: Send + Sync {
    /// Returns the state before the first token of a sequence.
    fn start(&self) -> State;

    /// Returns whether the tokenizer makes this token of some text.
    fn is_text(&self, token: TokenId) -> bool;

    /// Returns the state after one more token; `None` if no canonical sequence goes on like this.
    fn after(&self, state: State, token: TokenId) -> Option<State>;

    /// Returns whether the sequence is canonical if it ends here.
    fn may_end(&self, state: State) -> bool;

    /// Returns for each token of a vocabulary of this size whether it may be the next one, as [`after`](Self::after) says.
    fn allowed(&self, state: State, vocab: usize) -> Vec<bool> {
        (0..vocab as TokenId).map(|token| self.after(state, token).is_some()).collect()
    }

    /// Returns whether one of these tokens may be the next one.
    fn allows_any(&self, state: State, tokens: &[TokenId]) -> bool {
        tokens.iter().any(|token| self.after(state, *token).is_some())
    }
}

/// What a [`Canonical`] has to know about the tokens so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The last token; `None` at the beginning.
    pub last: Option<TokenId>,
    /// Anything else, in the implementation's own coding.
    pub inside: u64,
}

/// A [`Canonical`] that accepts every sequence of ordinary tokens: for tokenizers whose canonical sequences are not known.
///
/// A text then has as many sequences as there are ways to cut it into tokens, and the work for
/// [bytes](crate::Source::bytes) grows with their number: exponentially with the length of the text since the last special
/// token. So this is for tiny vocabularies, and for tests: [`ByteSettings::covering`](crate::bytes::ByteSettings::covering)
/// follows the probable ones of all sequences.
///
/// ```
/// use eft_core::Vocab;
/// use eft_core::canonical::{AnyTokens, Canonical};
///
/// let any = AnyTokens::new(Vocab::new("v", ["a", "b", "ab", "</s>"])?.with_eos([3])?);
/// assert!(any.after(any.start(), 0).is_some() && any.after(any.start(), 3).is_none());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AnyTokens {
    vocab: Arc<Vocab>,
}

impl AnyTokens {
    /// Accepts all ordinary tokens of a vocabulary.
    pub fn new(vocab: impl Into<Arc<Vocab>>) -> Self {
        Self { vocab: vocab.into() }
    }
}

impl Canonical for AnyTokens {
    fn start(&self) -> State {
        State { last: None, inside: 0 }
    }

    fn is_text(&self, token: TokenId) -> bool {
        !self.vocab.is_special(token) && self.vocab.bytes(token).is_some_and(|bytes| !bytes.is_empty())
    }

    fn after(&self, state: State, token: TokenId) -> Option<State> {
        self.is_text(token).then_some(state)
    }

    fn may_end(&self, _state: State) -> bool {
        true
    }
}
