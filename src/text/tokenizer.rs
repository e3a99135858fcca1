//! [`Tokenizer`]: from text to token ids, and what each id stands for.
//!
//! ```
//! use eft::text::Tokenizer;
//!
//! let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
//! let ids = tokenizer.encode("the café", true)?;
//! let vocab = tokenizer.vocab("tiny", 640)?;
//! assert_eq!(vocab.decode(&ids), "the café".as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use eft_core::{TokenId, Vocab};
use eft_models::{Error, Result, Spelling};
use tokenizers::{Decoder, DecoderWrapper};

/// A tokenizer of Hugging Face's kind.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    file: PathBuf,
    spelling: Spelling,
    /// Tokens such as `<0x0A>` stand for bytes.
    named_bytes: bool,
}

/// Ids past this are a mistake or an attack, not a token.
const ABSURD: TokenId = 1 << 24;

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::BadFile`] for one that is broken, or whose decoder is of a kind that is not known
    /// here.
    pub fn open(file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        let bytes = std::fs::read(file).map_err(|source| Error::Io { file: file.into(), source })?;
        let bad = |reason: String| Error::BadFile { file: file.into(), reason };
        // For where a file ends or breaks, the library has no words.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|e| bad(e.to_string()))?;
        let inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(|e| bad(e.to_string()))?;
        Self::new(inner, file)
    }

    /// Of parts that were put together by other means. `file` is what errors speak of.
    ///
    /// # Errors
    /// [`Error::BadFile`] if its decoder is of a kind that is not known here.
    pub fn new(mut inner: tokenizers::Tokenizer, file: impl Into<PathBuf>) -> Result<Self> {
        let file = file.into();
        let bad = |reason: String| Error::BadFile { file: file.clone(), reason };
        // Files keep what was set while training; prompts are neither cut nor filled up.
        inner.with_padding(None).with_truncation(None).map_err(|e| bad(e.to_string()))?;
        let (mut spelling, mut named_bytes) = (Spelling::Plain, false);
        for decoder in inner.get_decoder().map(flat).unwrap_or_default() {
            match decoder {
                DecoderWrapper::ByteLevel(_) => spelling = Spelling::ByteLevel,
                DecoderWrapper::Metaspace(_) => spelling = Spelling::Pieces,
                DecoderWrapper::ByteFallback(_) => named_bytes = true,
                // What it replaces shows on an example.
                DecoderWrapper::Replace(replace) => {
                    let replaced = replace.decode_chain(vec!["▁".into()]).map_err(|e| bad(e.to_string()))?;
                    if replaced.concat() == " " {
                        spelling = Spelling::Pieces;
                    }
                }
                // Of the beginning of a text, which a generated one has behind it.
                DecoderWrapper::Strip(_) | DecoderWrapper::Fuse(_) => {}
                other => {
                    let kind = serde_json::to_value(other).ok();
                    let kind = kind.as_ref().and_then(|kind| kind["type"].as_str()).unwrap_or("?").to_owned();
                    return Err(bad(format!("its decoder is of the kind {kind}, which is not supported")));
                }
            }
        }
        Ok(Self { inner, file, spelling, named_bytes })
    }

    /// The library's own, for what is not wrapped here.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The token ids of a text; `whole` for one that begins a sequence, which gets the tokens that the tokenizer puts
    /// before or behind it. A beginning that the text has already is not put before it again.
    ///
    /// # Errors
    /// [`eft_core::Error::Source`], naming the file, where the tokenizer fails.
    pub fn encode(&self, text: &str, whole: bool) -> eft_core::Result<Vec<TokenId>> {
        let encoded = |specials| {
            let encoding = guarded(|| self.inner.encode_fast(text, specials));
            let encoding = encoding.map_err(|e| eft_core::Error::source(self.file.to_string_lossy(), e))?;
            Ok(encoding.get_ids().to_vec())
        };
        let ids: Vec<_> = encoded(whole)?;
        match ids[..] {
            [first, second, ..] if whole && first == second => {
                let bare: Vec<_> = encoded(false)?;
                Ok(if ids[1..] == bare && self.is_special(first) { bare } else { ids })
            }
            _ => Ok(ids),
        }
    }

    fn is_special(&self, id: TokenId) -> bool {
        self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }

    /// The id of a token by its name.
    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.inner.token_to_id(token)
    }

    /// What the ids stand for, for a model whose rows have `width` scores. None ends a text: see
    /// [`Vocab::with_eos`].
    ///
    /// # Errors
    /// [`Error::BadFile`] if it has more tokens, but for added ones, than rows have scores;
    /// [`Error::Core`] as [`Vocab`]'s constructors.
    pub fn vocab(&self, name: impl Into<String>, width: usize) -> Result<Vocab> {
        let bad = |reason: String| Error::BadFile { file: self.file.clone(), reason };
        let ordinary = self.inner.get_vocab(false);
        let added = self.inner.get_added_tokens_decoder();
        let ids = || ordinary.values().chain(added.keys()).copied();
        if let Some(id) = ids().find(|id| *id >= ABSURD) {
            return Err(bad(format!("a token has the id {id}; expected less than {ABSURD}")));
        }
        let past = ordinary.iter().filter(|(_, id)| !added.contains_key(id) && **id as usize >= width);
        if let Some((token, id)) = past.min_by_key(|(_, id)| **id) {
            let reason = format!("token {id}, {token:?}, is past the {width} rows that the model has");
            return Err(bad(format!("{reason}: it belongs to another model")));
        }
        let mut tokens = vec![None; ids().max().map_or(0, |id| id as usize + 1)];
        for (token, id) in &ordinary {
            tokens[*id as usize] = Some(self.bytes(token));
        }
        for (id, token) in &added {
            let special = token.special;
            tokens[*id as usize] = Some(if special {
                token.content.clone().into()
            } else {
                self.spelling.bytes(&token.content)
            });
        }
        let special = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id);
        let vocab = Vocab::sparse(name, tokens)?.with_special(special)?;
        Ok(vocab.with_width(width)?)
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        match Spelling::named_byte(token).filter(|_| self.named_bytes) {
            Some(byte) => vec![byte],
            None => self.spelling.bytes(token),
        }
    }
}

/// The library indexes by what a file says, and panics where that lies: at merges past its longest token, for one.
fn guarded<T>(f: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    let panicked = |_| Err("it contradicts itself, and the tokenizer panicked".into());
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(panicked)
}

/// A decoder's steps.
fn flat(decoder: &DecoderWrapper) -> Vec<&DecoderWrapper> {
    match decoder {
        DecoderWrapper::Sequence(steps) => steps.get_decoders().iter().flat_map(flat).collect(),
        other => vec![other],
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("file", &self.file).finish_non_exhaustive()
    }
}
