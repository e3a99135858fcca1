//! [`Vocab`]: what the ids of a model's scores stand for, and when the scores of two models may be added.
//!
//! The width of a row of scores is not the size of the vocabulary: rows are padded (152,064 scores for a tokenizer
//! of 151,665 tokens), and fine-tuning adds a token or two. Padding is untrained and can win after a subtraction,
//! so combinations are cut to the range of *real* tokens that all terms share. Nor do equal widths prove equal
//! vocabularies: tokens are compared by their bytes.
//!
//! ```
//! use eft_core::{Error, Vocab};
//!
//! let base = Vocab::new("base", [b"a".to_vec(), b"b".to_vec(), b"</s>".to_vec()])?
//!     .with_special([2])?
//!     .with_eos([2])?
//!     .with_width(8)?; // the model's rows are padded
//! let tuned = Vocab::new("tuned", [b"a".to_vec(), b"b".to_vec(), b"<|end|>".to_vec(), b"<pad>".to_vec()])?
//!     .with_special([2, 3])?
//!     .with_eos([2])?;
//!
//! let relation = base.relation(&tuned)?;
//! assert_eq!(relation.common, 3); // neither the padding nor `<pad>` takes part
//! assert_eq!(relation.renamed, [2]); // a special token with another name: usable, worth a warning
//!
//! let other = Vocab::new("other", [b"b".to_vec(), b"a".to_vec()])?;
//! assert!(matches!(base.relation(&other), Err(Error::VocabMismatch { id: 0, .. })));
//! # Ok::<(), Error>(())
//! ```
mod common;

pub(crate) use common::Common;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{Error, Result, TokenId};

/// The tokens of a model: their bytes, which of them are special, which end a text, and how wide the model's rows
/// of scores are.
#[derive(Clone, PartialEq, Eq)]
pub struct Vocab {
    name: String,
    tokens: Tokens,
    width: usize,
    special: BTreeSet<TokenId>,
    eos: BTreeSet<TokenId>,
    fingerprint: u64,
}

/// What is known of the tokens. Shared, since models of one family share a vocabulary of megabytes.
#[derive(Clone, PartialEq, Eq)]
enum Tokens {
    /// By id; `None` where the id stands for no token.
    Known(Arc<[Option<Box<[u8]>>]>),
    /// Only how many there are.
    Anonymous(usize),
}

/// How two vocabularies whose scores may be added relate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relation {
    /// Ids below this are real tokens of both.
    pub common: usize,
    /// Special or reserved tokens below `common` that bear different names: usable, worth a warning.
    pub renamed: Vec<TokenId>,
    /// Real tokens of only one of the two, above `common`: left out of a combination.
    pub extra: usize,
}

impl Vocab {
    /// A vocabulary of tokens with known bytes, in the order of their ids. The width is their number, none is
    /// special and none ends a text until said otherwise.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if there are none.
    pub fn new<T: Into<Vec<u8>>>(
        name: impl Into<String>,
        tokens: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        Self::sparse(name, tokens.into_iter().map(|t| Some(t.into())))
    }

    /// As [`new`](Self::new), with `None` for ids that stand for no token.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if there is no token at all.
    pub fn sparse(
        name: impl Into<String>,
        tokens: impl IntoIterator<Item = Option<Vec<u8>>>,
    ) -> Result<Self> {
        let mut tokens: Vec<_> = tokens.into_iter().map(|t| t.map(Vec::into_boxed_slice)).collect();
        // Nothing past the last real token can take part in a combination.
        while tokens.last().is_some_and(Option::is_none) {
            tokens.pop();
        }
        Self::of(name.into(), Tokens::Known(tokens.into()))
    }

    /// A vocabulary of which only the size is known. It relates to an anonymous vocabulary of the same name and
    /// size and to nothing else, since nothing shows that the ids mean the same.
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

    /// Sets how many scores the model's rows hold; more than there are tokens where rows are padded, fewer where
    /// tokens were added that the model never learnt.
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

    /// Adds special tokens: those that stand for no text of their own.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if one is not a token.
    pub fn with_special(mut self, ids: impl IntoIterator<Item = TokenId>) -> Result<Self> {
        for id in ids {
            self.require(id, "special")?;
            self.special.insert(id);
        }
        Ok(self)
    }

    /// Adds ids that end a text. They are special, too.
    ///
    /// # Errors
    /// [`Error::BadVocab`] if one is not a token.
    pub fn with_eos(mut self, ids: impl IntoIterator<Item = TokenId>) -> Result<Self> {
        for id in ids {
            self.require(id, "end-of-sequence")?;
            self.special.insert(id);
            self.eos.insert(id);
        }
        Ok(self)
    }

    /// The same vocabulary under another name.
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

    /// Whether only its size is known, and no token's bytes.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.tokens, Tokens::Anonymous(_))
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Scores in a row of the model.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Real ids: the tokens, up to the last one, that rows have scores for.
    pub fn real(&self) -> usize {
        self.tokens.len().min(self.width)
    }

    /// The bytes of a token; `None` where the id stands for none or the bytes are not known.
    pub fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        match &self.tokens {
            Tokens::Known(tokens) => tokens.get(id as usize)?.as_deref(),
            Tokens::Anonymous(_) => None,
        }
    }

    /// The bytes of ordinary tokens, one after another; special ones stand for no text.
    pub fn decode(&self, ids: &[TokenId]) -> Vec<u8> {
        ids.iter()
            .filter(|id| !self.is_special(**id))
            .filter_map(|id| self.bytes(*id))
            .flatten()
            .copied()
            .collect()
    }

    /// Ids below [`real`](Self::real) that stand for no token: untrained, to be excluded.
    pub fn holes(&self) -> Vec<TokenId> {
        match &self.tokens {
            Tokens::Known(tokens) => {
                (0..).zip(&tokens[..self.real()]).filter(|(_, t)| t.is_none()).map(|(id, _)| id).collect()
            }
            Tokens::Anonymous(_) => Vec::new(),
        }
    }

    /// Whether a token stands for no text of its own.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.contains(&id)
    }

    /// The ids that end a text. Which id does is a role that base and tuned models of one vocabulary may give to
    /// different tokens.
    pub fn eos(&self) -> &BTreeSet<TokenId> {
        &self.eos
    }

    /// A hash of the tokens' bytes: equal for equal tokens, whatever names, widths and roles.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether, and over which range, scores of the two may be added.
    ///
    /// # Errors
    /// [`Error::VocabMismatch`] with the first id, below the size of both, that stands for different ordinary
    /// tokens.
    pub fn relation(&self, other: &Self) -> Result<Relation> {
        let common = self.real().min(other.real());
        let extra = self.real().max(other.real()) - common;
        let mut renamed = Vec::new();
        match (&self.tokens, &other.tokens) {
            (Tokens::Known(a), Tokens::Known(b)) if !Arc::ptr_eq(a, b) => {
                for (id, (a, b)) in (0..).zip(a.iter().zip(b.iter())).take(common) {
                    if a == b {
                        continue;
                    }
                    // Reserved ids are given names by later members of a family.
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

    /// A token for people: `"the"`, `special "</s>"`, `no token`.
    pub fn describe(&self, id: TokenId) -> String {
        match (&self.tokens, self.bytes(id)) {
            (Tokens::Anonymous(size), _) => {
                format!("unknown (`{}` tells only that it has {size} tokens)", self.name)
            }
            (_, None) => "no token".into(),
            (_, Some(bytes)) => {
                let kind = if self.is_special(id) { "special " } else { "" };
                format!("{kind}{:?}", String::from_utf8_lossy(bytes))
            }
        }
    }

    /// The first `real` tokens of this vocabulary as one of their own, with rows exactly as wide. `eos` may hold
    /// ids past them: a text that only those could end is an error later, not here.
    pub(crate) fn cut(&self, name: String, real: usize, eos: BTreeSet<TokenId>) -> Self {
        let tokens = match &self.tokens {
            Tokens::Known(tokens) if tokens.len() == real => Tokens::Known(tokens.clone()),
            Tokens::Known(tokens) => Tokens::Known(tokens[..real].into()),
            Tokens::Anonymous(_) => Tokens::Anonymous(real),
        };
        let within = |id: &TokenId| (*id as usize) < real;
        let fingerprint = tokens.fingerprint();
        let special = self.special.iter().chain(&eos).copied().filter(within).collect();
        Self { name, tokens, width: real, special, eos, fingerprint }
    }
}

impl Tokens {
    fn len(&self) -> usize {
        match self {
            Self::Known(tokens) => tokens.len(),
            Self::Anonymous(size) => *size,
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        match self {
            Self::Known(tokens) => {
                for token in tokens.iter() {
                    match token {
                        // A length before the bytes, so that no two lists of tokens run together alike.
                        Some(bytes) => {
                            hash.write_u64(bytes.len() as u64 + 1);
                            hash.write(bytes);
                        }
                        None => hash.write_u64(0),
                    }
                }
            }
            Self::Anonymous(size) => hash.write_u64(*size as u64),
        }
        hash.finish()
    }
}

/// FNV-1a: the same on every platform and in every version, unlike the standard library's hasher.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.0
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
            .field("fingerprint", &format_args!("{:016x}", self.fingerprint))
            .finish_non_exhaustive()
    }
}
