//! [`Tokenizer`]: from text to token ids, and from token ids to the bytes they stand for.
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use eft_core::canonical::Canonical;
use eft_core::{TokenId, Vocab};
use eft_models::{Error, Result, Spelling};
use tokenizers::{Decoder, DecoderWrapper, Encoding, Token};

use super::canonical::canonical;
use super::config::TokenizerConfig;
use super::fault;
use super::guarded::guarded;
use super::literal::LiteralEncoder;

/// A tokenizer in Hugging Face's format.
///
/// The library `tokenizers` panics on some broken files. Such panics become errors; so that they are not reported, the first
/// tokenizer that is read puts a panic hook before the program's own, which it calls for all other panics.
///
/// Texts are the bytes of their tokens, one after another. So a text of WordPiece has a space before every word, also before
/// its first one and before punctuation; that of SentencePiece begins with the space that the tokenizer puts there.
///
/// ```
/// use eft::text::Tokenizer;
///
/// let tokenizer = Tokenizer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/byte-level/tokenizer.json"))?;
/// let ids = tokenizer.encode("the café", true)?;
/// let vocab = tokenizer.vocab("tiny", 640)?;
/// assert_eq!(vocab.decode(&ids), "the café".as_bytes());
/// # Ok::<(), eft::Error>(())
/// ```
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    file: PathBuf,
    spelling: Spelling,
    /// Whether tokens such as `<0x0A>` stand for bytes.
    named_bytes: bool,
    /// Made when it is first needed, since it holds a copy of the tokenizer.
    literal: OnceLock<std::result::Result<LiteralEncoder, String>>,
    /// Made when it is first needed, since it holds all merges.
    canonical: OnceLock<std::result::Result<Arc<dyn Canonical>, String>>,
}

/// Token ids from here on are taken for an error in the file, or an attack on the memory.
const MAX_ID: TokenId = 1 << 24;

impl Tokenizer {
    /// Reads a `tokenizer.json`, and nothing that other files in its folder say: see [`read`](Self::read).
    ///
    /// # Errors
    /// * [`Error::Io`] if the file cannot be read.
    /// * [`Error::BadFile`] if it is broken, or its kind of decoder is not supported.
    pub fn open(file: impl AsRef<Path>) -> Result<Self> {
        Self::new(Self::parse(file.as_ref())?, file.as_ref())
    }

    /// Reads the tokenizer of a folder in Hugging Face's layout: `tokenizer.json`, and what the files beside it say
    /// about its tokens. `tokenizer_config.json` may add tokens to it, makes those special that it gives a role, such as
    /// `eos_token`. In older folders, `special_tokens_map.json` and `added_tokens.json` do so. Returns `None` if there is no `tokenizer.json`.
    ///
    /// # Errors
    /// * [`Error::Io`] if a file cannot be read.
    /// * [`Error::BadFile`] if a file is broken, or the kind of decoder is not supported.
    /// * [`Error::Config`] if a field that describes tokens is invalid.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        Self::of_folder(folder, &TokenizerConfig::read(folder)?)
    }

    /// [`read`](Self::read), where the files beside `tokenizer.json` have been read.
    pub(crate) fn of_folder(folder: &Path, config: &TokenizerConfig) -> Result<Option<Self>> {
        let file = folder.join("tokenizer.json");
        if !file.exists() {
            return Ok(None);
        }
        let mut inner = Self::parse(&file)?;
        config.extend(&mut inner)?;
        Self::new(inner, file).map(Some)
    }

    fn parse(file: &Path) -> Result<tokenizers::Tokenizer> {
        let bytes = std::fs::read(file).map_err(|source| Error::Io { file: file.into(), source })?;
        let bad = |reason: String| Error::BadFile { file: file.into(), reason };
        // The library does not say where a file ends or breaks.
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|e| bad(e.to_string()))?;
        guarded(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(|error| {
            let field = fault::field(&bytes).map(|field| format!("its `{field}` is at fault: "));
            bad(field.unwrap_or_default() + &error.to_string())
        })
    }

    /// Wraps a tokenizer of the library `tokenizers`. Errors name `file`.
    ///
    /// # Errors
    /// [`Error::BadFile`] if its kind of decoder is not supported.
    pub fn new(mut inner: tokenizers::Tokenizer, file: impl Into<PathBuf>) -> Result<Self> {
        let file = file.into();
        let bad = |reason: String| Error::BadFile { file: file.clone(), reason };
        // Files keep the settings of training; prompts are neither truncated nor padded.
        inner.with_padding(None).with_truncation(None).map_err(|e| bad(e.to_string()))?;
        let (mut spelling, mut named_bytes) = (Spelling::Plain, false);
        for decoder in inner.get_decoder().map(flat).unwrap_or_default() {
            match decoder {
                DecoderWrapper::ByteLevel(_) => spelling = Spelling::ByteLevel,
                DecoderWrapper::Metaspace(_) => spelling = Spelling::Pieces,
                DecoderWrapper::ByteFallback(_) => named_bytes = true,
                // Its clean-up, which removes spaces before punctuation, would need the text around a token.
                DecoderWrapper::WordPiece(words) if words.prefix == "##" => spelling = Spelling::Words,
                // An example shows whether it replaces the mark of a space.
                DecoderWrapper::Replace(replace) => {
                    let replaced = replace.decode_chain(vec!["▁".into()]).map_err(|e| bad(e.to_string()))?;
                    if replaced.concat() == " " {
                        spelling = Spelling::Pieces;
                    }
                }
                // These concern the beginning of a text, which comes before a generated one.
                DecoderWrapper::Strip(_) | DecoderWrapper::Fuse(_) => {}
                other => {
                    let kind = serde_json::to_value(other).ok();
                    let kind = kind.as_ref().and_then(|kind| kind["type"].as_str()).unwrap_or("?").to_owned();
                    return Err(bad(format!("its decoder is of the kind {kind}, which is not supported")));
                }
            }
        }
        let (literal, canonical) = (OnceLock::new(), OnceLock::new());
        Ok(Self { inner, file, spelling, named_bytes, literal, canonical })
    }

    /// Returns the wrapped tokenizer of the library `tokenizers`.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// Returns the file that the tokenizer was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the token ids of a text. If it is the `whole` of a sequence, or its beginning, it gets the tokens that
    /// the tokenizer puts before or after one; a first token that the text spells out already is not repeated.
    ///
    /// Special tokens that the text spells out become special tokens.
    ///
    /// # Errors
    /// [`eft_core::Error::Source`], naming the file, if the tokenizer fails.
    pub fn encode(&self, text: &str, whole: bool) -> eft_core::Result<Vec<TokenId>> {
        let encoded = |specials| -> eft_core::Result<Vec<TokenId>> {
            let encoding = guarded(|| self.inner.encode_fast(text, specials));
            let encoding = encoding.map_err(|e| eft_core::Error::source(self.file.to_string_lossy(), e))?;
            Ok(encoding.get_ids().to_vec())
        };
        let ids = encoded(whole)?;
        match ids[..] {
            [first, second, ..] if whole && first == second && self.is_special(first) => {
                let bare = encoded(false)?;
                Ok(if ids[1..] == bare { bare } else { ids })
            }
            _ => Ok(ids),
        }
    }

    /// Marks the special tokens that a text spells out, so that [`encode_marked`](Self::encode_marked) keeps them as
    /// text. Borrows a text that has none.
    pub(super) fn mark<'a>(&self, text: &'a str) -> std::result::Result<Cow<'a, str>, String> {
        self.literal()?.mark(&self.inner, text)
    }

    /// The text without the marks.
    pub(super) fn unmark(text: &str) -> String {
        LiteralEncoder::unmark(text)
    }

    /// [`encode`](Self::encode) for a text in which special tokens that are meant as text are marked.
    pub(super) fn encode_marked(&self, text: &str, whole: bool) -> std::result::Result<Vec<TokenId>, String> {
        let bare = self.literal()?.encode(&self.inner, text)?;
        if !whole {
            return Ok(bare);
        }
        let token = |id: &TokenId| Token::new(*id, self.inner.id_to_token(*id).unwrap_or_default(), (0, 0));
        let encoding = Encoding::from_tokens(bare.iter().map(token).collect(), 0);
        let encoding =
            guarded(|| self.inner.post_process(encoding, None, true)).map_err(|e| e.to_string())?;
        let ids = encoding.get_ids();
        let repeated = matches!(*ids, [first, second, ..] if first == second && self.is_special(first));
        Ok(if repeated && ids[1..] == bare { bare } else { ids.to_vec() })
    }

    fn literal(&self) -> std::result::Result<&LiteralEncoder, String> {
        let literal = self.literal.get_or_init(|| LiteralEncoder::new(&self.inner));
        let file = self.file.display();
        literal.as_ref().map_err(|reason| format!("{file}: messages cannot be kept as text: {reason}"))
    }

    fn is_special(&self, id: TokenId) -> bool {
        self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }

    /// Whether a token is matched in a text before any merge.
    pub(super) fn is_added(&self, id: TokenId) -> bool {
        self.inner.get_added_tokens_decoder().contains_key(&id)
    }

    /// Returns the id of the token that is spelled like this in the file.
    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.inner.token_to_id(token)
    }

    /// Returns the vocabulary of a model with `width` scores at each position. It has no end-of-sequence ids: see
    /// [`Vocab::with_eos`].
    ///
    /// # Errors
    /// * [`Error::BadFile`] if an ordinary token has an id of `width` or more, or any token an absurdly large one.
    /// * [`Error::Core`] if the tokens do not make a vocabulary.
    pub fn vocab(&self, name: impl Into<String>, width: usize) -> Result<Vocab> {
        let bad = |reason: String| Error::BadFile { file: self.file.clone(), reason };
        let ordinary = self.inner.get_vocab(false);
        let added = self.inner.get_added_tokens_decoder();
        let ids = || ordinary.values().chain(added.keys()).copied();
        if let Some(id) = ids().find(|id| *id >= MAX_ID) {
            return Err(bad(format!("a token has the id {id}; expected less than {MAX_ID}")));
        }
        let past = ordinary.iter().filter(|(_, id)| !added.contains_key(id) && **id as usize >= width);
        if let Some((token, id)) = past.min_by_key(|(_, id)| **id) {
            let reason = format!("token {id}, {token:?}, is past the {width} tokens that the model scores");
            return Err(bad(format!("{reason}: the file belongs to another model")));
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

    /// Returns which sequences of tokens the tokenizer makes of texts, for [sources over bytes](eft_core::bytes).
    ///
    /// They are known for byte-level BPE whose pre-tokenizer has the expressions of GPT-2 (also with single digits, as in
    /// SmolLM), of Llama 3, or of Qwen 2, or none. Added tokens are not made of text, whether or not they are special. If
    /// the tokenizer composes characters (NFC), sequences of texts that are not composed are accepted, too.
    ///
    /// # Errors
    /// The reason, in words, if they are not known.
    pub fn canonical(&self) -> std::result::Result<Arc<dyn Canonical>, String> {
        let made = self.canonical.get_or_init(|| {
            let ids = self.inner.get_vocab(true).into_values();
            let width = ids.max().map_or(1, |id| id as usize + 1);
            let vocab = self.vocab(self.file.to_string_lossy(), width).map_err(|error| error.to_string())?;
            canonical(&self.inner, &vocab)
        });
        made.clone()
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        match Spelling::named_byte(token).filter(|_| self.named_bytes) {
            Some(byte) => vec![byte],
            None => self.spelling.bytes(token),
        }
    }
}

/// The steps that a decoder consists of.
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
