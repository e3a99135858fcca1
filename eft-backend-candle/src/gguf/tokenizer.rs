//! [`TokenizerFields`]: the tokenizer that a GGUF file describes.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft_core::TokenId;
use eft_models::{Error, Result, Spelling};

use super::ends;
use super::kind::{TokenKind, TokenizerKind};
use super::metadata::{Metadata, number, whole};
use super::texts::Texts;
use super::value::Value;

/// The field of the kind of tokenizer.
const MODEL: &str = "tokenizer.ggml.model";

/// The field that names the rule by which text is split into words.
const PRE: &str = "tokenizer.ggml.pre";

/// The field of the chat template. Further templates have its name, a dot and a name of their own.
const TEMPLATE: &str = "tokenizer.chat_template";

/// The fields that describe the tokenizer of a GGUF file, as they are stored in it. Build a tokenizer from them with
/// `eft::text::gguf::tokenizer`.
///
/// ```no_run
/// use eft_backend_candle::Gguf;
///
/// let file = Gguf::open("smollm2-135m-instruct-q4_k_m.gguf")?;
/// if let Some(fields) = file.tokenizer() {
///     println!("{} tokens, chat template: {}", fields.tokens.len(), fields.chat_template.is_some());
/// }
/// # Ok::<(), eft_models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TokenizerFields {
    /// The file, for errors.
    file: PathBuf,
    /// The kind of tokenizer, which says how [`tokens`](Self::tokens) are spelled.
    pub kind: TokenizerKind,
    /// `tokenizer.ggml.pre`: the name of the rule by which text is split before merges apply.
    pub pre: Option<String>,
    /// The tokens by id, in the spelling of the kind.
    pub tokens: Texts,
    /// The kind of each token, by id.
    pub kinds: Vec<TokenKind>,
    /// The merges, in order of precedence: two tokens with a space between.
    pub merges: Texts,
    /// The score of each token, by id, or empty. Tokens with a greater score are merged first; in a unigram model, scores
    /// are log-probs.
    pub scores: Vec<f32>,
    /// The token that begins a sequence.
    pub bos: Option<TokenId>,
    /// The token that ends a sequence.
    pub eos: Option<TokenId>,
    /// The tokens that end a text or a turn, in ascending order: those that fields of the file name, and control tokens
    /// of the names at which llama.cpp ends a text, such as `<|eot_id|>`.
    pub ends: Vec<TokenId>,
    /// The token that stands for text without a token.
    pub unknown: Option<TokenId>,
    /// The token that ends a sequence in WordPiece (`[SEP]`).
    pub separator: Option<TokenId>,
    /// Whether `bos` is put before a text; `None` if the file does not say.
    pub add_bos: Option<bool>,
    /// Whether `eos` is put after a text; `None` if the file does not say.
    pub add_eos: Option<bool>,
    /// Whether a space is put before a text; `None` if the file does not say.
    pub add_space: Option<bool>,
    /// Whether runs of spaces become one, and spaces at both ends of a text are dropped: a setting of unigram models;
    /// `None` if the file does not say.
    pub merge_spaces: Option<bool>,
    /// The replacements of characters of a unigram model, as SentencePiece compiles them; empty if there are none.
    pub replacements: Vec<u8>,
    /// Whether text is converted to lower case: a setting of WordPiece; `None` if the file does not say.
    pub lowercase: Option<bool>,
    /// Whether accents are removed: a setting of WordPiece; `None` if the file does not say.
    pub strip_accents: Option<bool>,
    /// The chat template, in Jinja.
    pub chat_template: Option<String>,
    /// Further chat templates, by their names.
    pub named_templates: BTreeMap<String, String>,
}

impl TokenizerFields {
    /// Reads the fields; `None` if the file has no tokens, or tokens of another kind of tokenizer.
    pub(super) fn read(metadata: &mut Metadata) -> Result<Option<Self>> {
        let (model, pre) = (metadata.text(MODEL)?, metadata.text(PRE)?.map(str::to_owned));
        let kind = match model {
            None | Some("none" | "no_vocab") => return Ok(None),
            Some(model) => TokenizerKind::new(model, pre.as_deref()).ok_or_else(|| model.to_owned()),
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(other) => {
                let finding = format!(
                    "is `{other}`; supported are gpt2, llama, gemma4, t5 and bert: prompts of this model are token ids \
                     unless a tokenizer is given"
                );
                metadata.warn(MODEL, finding);
                return Ok(None);
            }
        };
        let Some(tokens) = metadata.take_texts("tokenizer.ggml.tokens")? else { return Ok(None) };
        let kind_of = |kind: &Value| whole(kind).map(TokenKind::new);
        let kinds = metadata.entries("tokenizer.ggml.token_type", "a non-negative integer", kind_of)?;
        let mut kinds = kinds.unwrap_or_else(|| vec![TokenKind::Normal; tokens.len()]);
        let score = |score: &Value| number(score).map(|score| score as f32).filter(|score| score.is_finite());
        let scores = metadata.entries("tokenizer.ggml.scores", "a finite number", score)?.unwrap_or_default();
        let check_count = |field: &str, count: usize| {
            let reason = format!("has {count} entries for {} tokens", tokens.len());
            if count == tokens.len() { Ok(()) } else { Err(metadata.wrong(field, reason)) }
        };
        check_count("tokenizer.ggml.token_type", kinds.len())?;
        if !scores.is_empty() {
            check_count("tokenizer.ggml.scores", scores.len())?;
        }
        let mut id = |field: &str| metadata.token_id(field, tokens.len());
        let (bos, eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
        let unknown = id("tokenizer.ggml.unknown_token_id")?;
        // The field is spelled like this in files.
        let separator = id("tokenizer.ggml.seperator_token_id")?;
        let ends = ends::read(metadata, &tokens, &mut kinds)?;
        if kind == TokenizerKind::Bytes && pre.is_none() {
            metadata.warn(
                PRE,
                "is missing: words are split by llama.cpp's default, which may be wrong for the model",
            );
        }
        let merges = metadata.take_texts("tokenizer.ggml.merges")?.unwrap_or_default();
        let metadata = &*metadata;
        let flag = |field: &str| metadata.flag(field);
        // Converters write bytes with a sign, or without.
        let byte = |byte: &Value| match byte {
            Value::Integer(byte @ -128..256) => Some(*byte as u8),
            _ => None,
        };
        let replacements = metadata.entries("tokenizer.ggml.precompiled_charsmap", "a byte", byte)?;
        Ok(Some(Self {
            file: metadata.file.clone(),
            kind,
            pre,
            kinds,
            merges,
            scores,
            bos,
            eos,
            unknown,
            separator,
            ends,
            add_bos: flag("tokenizer.ggml.add_bos_token")?,
            add_eos: flag("tokenizer.ggml.add_eos_token")?,
            add_space: flag("tokenizer.ggml.add_space_prefix")?,
            merge_spaces: flag("tokenizer.ggml.remove_extra_whitespaces")?,
            replacements: replacements.unwrap_or_default(),
            lowercase: flag("tokenizer.ggml.normalizer.lowercase")?,
            strip_accents: flag("tokenizer.ggml.normalizer.strip_accents")?,
            chat_template: metadata.text(TEMPLATE)?.map(str::to_owned),
            named_templates: named_templates(metadata)?,
            tokens,
        }))
    }

    /// Returns the file that the fields were read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns how the tokens are spelled.
    pub fn spelling(&self) -> Spelling {
        self.kind.spelling()
    }

    /// Returns an error that names a field of the file and the reason why it is invalid.
    pub fn wrong(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Config { file: self.file.clone(), field: field.into(), reason: reason.into() }
    }

    /// Returns the bytes of text that a token stands for; `None` if the id is out of range or has no token.
    pub fn bytes(&self, id: TokenId) -> Option<Vec<u8>> {
        let text = self.tokens.get(id as usize)?;
        match self.kinds[id as usize] {
            TokenKind::Unused => None,
            TokenKind::Normal => Some(self.spelling().bytes(text)),
            TokenKind::Byte => {
                Some(Spelling::named_byte(text).map_or_else(|| text.as_bytes().to_vec(), |byte| vec![byte]))
            }
            _ => Some(text.as_bytes().to_vec()),
        }
    }
}

fn named_templates(metadata: &Metadata) -> Result<BTreeMap<String, String>> {
    let mut templates = BTreeMap::new();
    for field in metadata.names() {
        if let Some(name) = field.strip_prefix(TEMPLATE).and_then(|name| name.strip_prefix('.'))
            && let Some(text) = metadata.text(field)?
        {
            templates.insert(name.to_owned(), text.to_owned());
        }
    }
    Ok(templates)
}
