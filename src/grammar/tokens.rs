//! [`GrammarTokens`]: the tokens of a vocabulary as grammars need them.
use std::collections::BTreeSet;
use std::sync::Arc;

use eft_core::{Backend, TokenId, TokenMask, Vocab};
use llguidance::ParserFactory;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use super::error::Error;
use crate::load::Model;
use crate::text::Tokenizer;

/// The tokens of a vocabulary, arranged in a tree by their bytes. Making it takes a fraction of a second, so make it once,
/// and all grammars from it. Clones share it.
///
/// ```
/// use eft::Vocab;
/// use eft::grammar::{Grammar, GrammarTokens};
///
/// let vocab = Vocab::new("digits", ["0", "1", "2", "</s>"])?.with_eos([3])?;
/// let tokens = GrammarTokens::of_vocab(&vocab)?;
/// let (even, short) = (Grammar::regex(&tokens, "[012]*[02]")?, Grammar::regex(&tokens, "[012]{3}")?);
/// # Ok::<(), eft::Error>(())
/// ```
#[derive(Clone)]
pub struct GrammarTokens(Arc<Shared>);

struct Shared {
    factory: ParserFactory,
    vocab: Vocab,
    tokenizer: Option<Arc<Tokenizer>>,
    ends: Vec<TokenId>,
    ends_mask: Arc<TokenMask>,
}

/// The most bytes of a token that can be used. The tree of the library is not deeper.
const LONGEST: usize = 1000;

/// The most nodes that the tree of the library can have.
const MOST_NODES: usize = 1 << 22;

impl GrammarTokens {
    /// The tokens of a loaded model. A text ends with an end-of-sequence token of the model.
    ///
    /// They fit every combination in which the model is a term: see [`with_ends`](Self::with_ends).
    ///
    /// # Errors
    /// [`Error::Vocab`] if the tokens are not known, or none of them ends a text.
    pub fn of<B: Backend>(model: &Model<B>) -> Result<Self, Error> {
        let tokenizer = model.renderer.as_ref().map(|renderer| renderer.tokenizer().clone());
        Self::new(model.source.vocab(), tokenizer, None)
    }

    /// The tokens of a vocabulary whose tokenizer is this. Where a grammar leaves only one text, it is spelled as the
    /// tokenizer spells it. A text ends with an end-of-sequence token of the vocabulary.
    ///
    /// # Errors
    /// [`Error::Vocab`] if the tokens are not known, or none of them ends a text.
    pub fn with_tokenizer(vocab: &Vocab, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, Error> {
        Self::new(vocab, Some(tokenizer.into()), None)
    }

    /// The tokens of a vocabulary without a tokenizer. Where a grammar leaves only one text, the model chooses how it is
    /// spelled.
    ///
    /// # Errors
    /// [`Error::Vocab`] if the tokens are not known, or none of them ends a text.
    pub fn of_vocab(vocab: &Vocab) -> Result<Self, Error> {
        Self::new(vocab, None, None)
    }

    /// The same tokens, where these end a text: all stop ids of a combination
    /// ([`Source::stop_ids`](crate::Source::stop_ids)), or those of a [`Decoding`](crate::Decoding).
    ///
    /// # Errors
    /// [`Error::Vocab`] if the list is empty, or names a token that the vocabulary does not have.
    pub fn with_ends(&self, ids: impl IntoIterator<Item = TokenId>) -> Result<Self, Error> {
        let ends: BTreeSet<_> = ids.into_iter().collect();
        Self::new(&self.0.vocab, self.0.tokenizer.clone(), Some(ends))
    }

    fn new(
        vocab: &Vocab,
        tokenizer: Option<Arc<Tokenizer>>,
        ends: Option<BTreeSet<TokenId>>,
    ) -> Result<Self, Error> {
        let refused = |reason| Error::Vocab { vocab: vocab.name().into(), reason };
        if vocab.is_anonymous() {
            return Err(refused("the bytes of its tokens are not known"));
        }
        let ends: Vec<_> = ends.as_ref().unwrap_or(vocab.eos()).iter().copied().collect();
        let Some(first) = ends.first() else { return Err(refused("none of its tokens ends a text")) };
        if ends.iter().any(|id| *id as usize >= vocab.real()) {
            return Err(refused("a token that is to end texts is not among its tokens"));
        }
        let words: Vec<_> = (0..vocab.real() as TokenId).map(|id| word(vocab, id)).collect();
        if nodes(&words) >= MOST_NODES {
            return Err(refused("it is too large"));
        }
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, *first), &words).with_eos_tokens(&ends);
        let spelling = Spelling { trie, vocab: vocab.clone(), tokenizer: tokenizer.clone() };
        let env: TokEnv = Arc::new(spelling);
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|_| refused("its tokens make no tree"))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        let ends_mask = Arc::new(ends.iter().copied().collect());
        Ok(Self(Arc::new(Shared { factory, vocab: vocab.clone(), tokenizer, ends, ends_mask })))
    }

    pub(super) fn factory(&self) -> &ParserFactory {
        &self.0.factory
    }

    /// The tokens that end a text.
    pub(super) fn ends(&self) -> &[TokenId] {
        &self.0.ends
    }

    pub(super) fn ends_mask(&self) -> Arc<TokenMask> {
        self.0.ends_mask.clone()
    }

    /// The library's set of tokens, without the bits after the last token.
    pub(super) fn mask(&self, allowed: &SimpleVob) -> TokenMask {
        TokenMask::from_u32_words(allowed.as_slice(), self.0.vocab.real())
    }

    pub(super) fn describe(&self, token: TokenId) -> String {
        self.0.vocab.describe(token)
    }
}

/// The bytes of a token in the library's form: special tokens begin with a mark; tokens that no text has are empty.
fn word(vocab: &Vocab, id: TokenId) -> Vec<u8> {
    let bytes = vocab.bytes(id).unwrap_or_default();
    let mark = TokTrie::SPECIAL_TOKEN_MARKER;
    match bytes.len() > LONGEST || bytes.is_empty() {
        true => Vec::new(),
        false if vocab.is_special(id) => [&[mark], bytes].concat(),
        // A byte that no text in UTF-8 has.
        false if bytes.contains(&mark) => Vec::new(),
        false => bytes.to_vec(),
    }
}

/// The number of nodes of the tree of these words, or a larger one.
fn nodes(words: &[Vec<u8>]) -> usize {
    let most: usize = words.iter().map(Vec::len).sum();
    if most < MOST_NODES {
        return most;
    }
    let mut sorted: Vec<_> = words.iter().collect();
    sorted.sort_unstable();
    let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let shared: usize = sorted.windows(2).map(|pair| common(pair[0], pair[1])).sum();
    // Equal words have a node each.
    most - shared + words.len()
}

/// How texts that a grammar forces are spelled: as the tokenizer spells them, or as the model chooses.
struct Spelling {
    trie: TokTrie,
    vocab: Vocab,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl TokenizerEnv for Spelling {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let ids = self.tokenizer.as_ref().and_then(|tokenizer| spelled(tokenizer, &self.vocab, text));
            ids.unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.tokenizer.is_some()
    }
}

/// A control character that merges with nothing.
const BEFORE: char = '\u{2}';

/// The tokens of a text within a longer one; `None` if the tokenizer's tokens do not have its bytes.
fn spelled(tokenizer: &Tokenizer, vocab: &Vocab, text: &str) -> Option<Vec<TokenId>> {
    let right = |ids: &[TokenId]| vocab.decode(ids) == text.as_bytes();
    let ids = tokenizer.encode(text, false).ok().filter(|ids| right(ids));
    ids.or_else(|| {
        // Some tokenizers put a space before a text: the tokens after a first character show how it is spelled later.
        let ids = tokenizer.encode(&format!("{BEFORE}{text}"), false).ok()?;
        let before =
            (1..=ids.len()).find(|length| vocab.decode(&ids[..*length]).ends_with(&[BEFORE as u8]))?;
        Some(ids[before..].to_vec()).filter(|ids| right(ids))
    })
}

impl std::fmt::Debug for GrammarTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarTokens")
            .field("vocab", &self.0.vocab.name())
            .field("ends", &self.0.ends)
            .finish_non_exhaustive()
    }
}
