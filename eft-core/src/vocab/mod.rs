//! [`Vocab`]: the tokens that a model's ids stand for, and whether the scores of two models may be added.
//!
//! The width of a score row is not the size of the vocabulary. Score rows are padded (152,064 scores for a tokenizer of
//! 151,665 tokens), and fine-tuning may add a token or two. The scores of padding are untrained and can win after a
//! subtraction, so combinations are cut to the *real* tokens that all terms share. Nor do equal widths prove equal
//! vocabularies, so tokens are compared by their bytes.
//!
//! ```
//! use eft_core::{Error, Vocab};
//!
//! let base = Vocab::new("base", [b"a".to_vec(), b"b".to_vec(), b"</s>".to_vec()])?
//!     .with_special([2])?
//!     .with_eos([2])?
//!     .with_width(8)?; // the model's score rows are padded
//! let tuned = Vocab::new("tuned", [b"a".to_vec(), b"b".to_vec(), b"<|end|>".to_vec(), b"<pad>".to_vec()])?
//!     .with_special([2, 3])?
//!     .with_eos([2])?;
//!
//! let relation = base.relation(&tuned)?;
//! assert_eq!(relation.common, 3); // the padding and `<pad>` are left out
//! assert_eq!(relation.renamed, [2]); // a special token with another name: usable, worth a warning
//!
//! let other = Vocab::new("other", [b"b".to_vec(), b"a".to_vec()])?;
//! assert!(matches!(base.relation(&other), Err(Error::VocabMismatch { id: 0, .. })));
//! # Ok::<(), Error>(())
//! ```
mod common;
mod tokens;

pub(crate) use common::Common;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use crate::{Error, Result, TokenId};
use tokens::{Listed, Tokens};

/// The vocabulary of a model: the bytes of its tokens, which of them are special, which end a text, and how wide the
/// model's score rows are.
///
/// A clone shares the tokens' bytes. See the [module](self) for an example.
#[derive(Clone, PartialEq, Eq)]
pub struct Vocab {
    name: String,
    tokens: Tokens,
    width: usize,
    special: BTreeSet<TokenId>,
    eos: BTreeSet<TokenId>,
    fingerprint: u128,
}

/// How two vocabularies relate whose scores may be added. Returned by [`Vocab::relation`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relation {
    /// The ids below this number are real tokens of both vocabularies.
    pub common: usize,
    /// The ids below `common` of special or reserved tokens whose names differ: usable, but worth a warning.
    pub renamed: Vec<TokenId>,
    /// How many real tokens, at or above `common`, only one of the two has. A combination leaves them out.
    pub extra: usize,
}

impl Vocab {
    /// Creates a vocabulary of tokens with known bytes, in the order of their ids. Its width is their number; no token
    /// is special and none ends a text.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if there are no tokens, more than 2³², or tokens of 2 GiB or more together.
    pub fn new<T: Into<Vec<u8>>>(
        name: impl Into<String>,
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        Self::sparse(name, tokens.into_iter().map(|t| Some(t.into())))
    }

    /// Creates a vocabulary like [`new`](Self::new), with `None` for ids without a token.
    ///
    /// ```
    /// let vocab = eft_core::Vocab::sparse("v", [Some(b"a".to_vec()), None, Some(b"b".to_vec())])?;
    /// assert_eq!((vocab.real(), vocab.unassigned()), (3, vec![1]));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadVocab`] if there are no tokens, more than 2³², or tokens of 2 GiB or more together.
    pub fn sparse(
        name: impl Into<String>,
        tokens: impl IntoIterator<Item = Option<Vec<u8>>>,
    ) -> Result<Self> {
        let name = name.into();
        match Listed::new(tokens.into_iter()) {
            Some(tokens) => Self::of(name, Tokens::Known(tokens)),
            None => Err(Error::BadVocab { vocab: name, reason: "its tokens have 2 GiB or more".into() }),
        }
    }

    /// Creates a vocabulary of which only the size is known. Its scores can be added to those of an anonymous
    /// vocabulary of the same name and size and to no others, since nothing else shows that the ids mean the same.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if the size is 0.
    pub fn anonymous(name: impl Into<String>, size: usize) -> Result<Self> {
        Self::of(name.into(), Tokens::Anonymous(size))
    }

    fn of(name: String, tokens: Tokens) -> Result<Self> {
        let width = tokens.len();
        let bad = |reason: &str| Error::BadVocab { vocab: name.clone(), reason: reason.into() };
        if width == 0 {
            return Err(bad("it has no tokens"));
        }
        if TokenId::try_from(width).is_err() {
            return Err(bad("it has more tokens than there are ids"));
        }
        let fingerprint = tokens.fingerprint();
        Ok(Self { name, tokens, width, special: BTreeSet::new(), eos: BTreeSet::new(), fingerprint })
    }

    /// Sets the width of the model's score rows: more than there are tokens if rows are padded, fewer if tokens were
    /// added to the tokenizer that the model never learnt.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if it is 0.
    pub fn with_width(mut self, width: usize) -> Result<Self> {
        if width == 0 {
            return Err(Error::BadVocab { vocab: self.name, reason: "its rows have no scores".into() });
        }
        self.width = width;
        Ok(self)
    }

    /// Marks tokens as special: they have no text.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if an id is past the tokens.
    pub fn with_special(mut self, ids: impl IntoIterator<Item = TokenId>) -> Result<Self> {
        for id in ids {
            self.require(id, "special")?;
            self.special.insert(id);
        }
        Ok(self)
    }

    /// Marks tokens as ending a text (end of sequence). They become special, too.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if an id is past the tokens.
    pub fn with_eos(mut self, ids: impl IntoIterator<Item = TokenId>) -> Result<Self> {
        for id in ids {
            self.require(id, "end-of-sequence")?;
            self.special.insert(id);
            self.eos.insert(id);
        }
        Ok(self)
    }

    /// Sets the name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn require(&self, id: TokenId, role: &str) -> Result<()> {
        if (id as usize) < self.tokens.len() {
            return Ok(());
        }
        let reason = format!("{role} id {id} is past its {} tokens", self.tokens.len());
        Err(Error::BadVocab { vocab: self.name.clone(), reason })
    }

    /// Returns whether only the size is known, and no token's bytes.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.tokens, Tokens::Anonymous(_))
    }

    /// Returns the name, which is used in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the width of the model's score rows.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of real ids: those up to the last token, as far as score rows reach.
    pub fn real(&self) -> usize {
        self.tokens.len().min(self.width)
    }

    /// Returns the bytes of a token; `None` if the id has no token or the bytes are not known.
    pub fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        match &self.tokens {
            Tokens::Known(tokens) => tokens.get(id as usize),
            Tokens::Anonymous(_) => None,
        }
    }

    /// Returns the bytes of the ordinary tokens among `ids`, one after another. Special tokens have no text.
    ///
    /// ```
    /// let vocab = eft_core::Vocab::new("v", ["He", "llo", "</s>"])?.with_eos([2])?;
    /// assert_eq!(vocab.decode(&[0, 1, 2]), b"Hello");
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn decode(&self, ids: &[TokenId]) -> Vec<u8> {
        ids.iter()
            .filter(|id| !self.is_special(**id))
            .filter_map(|id| self.bytes(*id))
            .flatten()
            .copied()
            .collect()
    }

    /// Returns the ids below [`real`](Self::real) that have no token. Their scores are untrained and excluded.
    pub fn unassigned(&self) -> Vec<TokenId> {
        match &self.tokens {
            Tokens::Known(tokens) => {
                let ids = (0..).zip(tokens.iter().take(self.real()));
                ids.filter(|(_, token)| token.is_none()).map(|(id, _)| id).collect()
            }
            Tokens::Anonymous(_) => Vec::new(),
        }
    }

    /// Returns whether a token is special, which means that it has no text.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.contains(&id)
    }

    /// Returns the ids that end a text. Base and tuned models of one vocabulary may use different ones.
    pub fn eos(&self) -> &BTreeSet<TokenId> {
        &self.eos
    }

    /// Returns a hash of the tokens' bytes, 128-bit FNV-1a: equal for equal tokens whatever their names, widths and
    /// roles, and the same on every platform and in every version, so that it may be stored.
    ///
    /// Different vocabularies have different fingerprints unless someone constructs a collision on purpose.
    /// [`relation`](Self::relation) relies on it.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// Returns over which ids the scores of two models may be added. Vocabularies of equal
    /// [`fingerprint`](Self::fingerprint) are not compared token by token.
    ///
    /// # Errors
    /// [`Error::VocabMismatch`] with the first id, below the size of both, that stands for different ordinary tokens;
    /// or with id 0 if a vocabulary is anonymous, so that nothing shows that the ids mean the same.
    pub fn relation(&self, other: &Self) -> Result<Relation> {
        let common = self.real().min(other.real());
        let extra = self.real().max(other.real()) - common;
        let mut renamed = Vec::new();
        match (&self.tokens, &other.tokens) {
            (Tokens::Known(a), Tokens::Known(b)) if self.fingerprint != other.fingerprint => {
                for (id, (a, b)) in (0..).zip(a.iter().zip(b.iter())).take(common) {
                    if a == b {
                        continue;
                    }
                    // Later members of a model family give names to reserved ids.
                    let reserved = a.is_none() || b.is_none();
                    let (here, there) = (self.is_special(id), other.is_special(id));
                    if (here && there) || (reserved && (here || there)) {
                        renamed.push(id);
                    } else {
                        return Err(self.mismatch(other, id));
                    }
                }
            }
            (Tokens::Known(_), Tokens::Known(_)) => {}
            (Tokens::Anonymous(a), Tokens::Anonymous(b)) if a == b && self.name == other.name => {}
            _ => return Err(self.mismatch(other, 0)),
        }
        Ok(Relation { common, renamed, extra })
    }

    fn mismatch(&self, other: &Self, id: TokenId) -> Error {
        Error::VocabMismatch {
            left: self.name.clone(),
            right: other.name.clone(),
            id,
            left_token: self.describe(id),
            right_token: other.describe(id),
        }
    }

    /// Describes a token for messages, such as `"the"`, `special "</s>"` or `no token`.
    pub fn describe(&self, id: TokenId) -> String {
        match (&self.tokens, self.bytes(id)) {
            (Tokens::Anonymous(size), _) => {
                format!("unknown (of `{}` only the size is known: {size} tokens)", self.name)
            }
            (_, None) => "no token".into(),
            (_, Some(bytes)) => {
                let kind = if self.is_special(id) { "special " } else { "" };
                format!("{kind}{:?}", String::from_utf8_lossy(bytes))
            }
        }
    }

    /// Returns a vocabulary of the first `real` tokens of this one, whose score rows are exactly as wide. `eos` may
    /// hold ids past them: that a text could end by no other id is an error when it is generated, not here.
    pub(crate) fn cut(&self, name: String, real: usize, eos: BTreeSet<TokenId>) -> Self {
        let tokens = self.tokens.cut(real);
        let within = |id: &TokenId| (*id as usize) < real;
        let fingerprint = if self.tokens.len() == real { self.fingerprint } else { tokens.fingerprint() };
        let special = self.special.iter().chain(&eos).copied().filter(within).collect();
        Self { name, tokens, width: real, special, eos, fingerprint }
    }
}

impl Hash for Vocab {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl std::fmt::Debug for Vocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocab")
            .field("name", &self.name)
            .field("real", &self.real())
            .field("width", &self.width)
            .field("eos", &self.eos)
            .field("fingerprint", &format_args!("{:032x}", self.fingerprint))
            .finish_non_exhaustive()
    }
}
