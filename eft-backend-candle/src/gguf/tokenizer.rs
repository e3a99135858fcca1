//! [`TokenizerFields`]: what a file tells of its tokenizer.
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Value;
use eft_core::TokenId;
use eft_models::{Error, Result, Spelling};

use super::metadata::{Metadata, whole};

/// The tokenizer of a GGUF file, as it is written there.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerFields {
    /// The file, for errors.
    file: PathBuf,
    /// How the tokens are written down: byte-level, or in pieces.
    pub spelling: Spelling,
    /// `tokenizer.ggml.pre`: how texts are cut before they are merged.
    pub pre: Option<String>,
    /// By id.
    pub tokens: Vec<String>,
    /// By id, as many as tokens.
    pub kinds: Vec<TokenKind>,
    /// Two tokens with a space between, in order of precedence.
    pub merges: Vec<String>,
    /// By id, as many as tokens, or none: the greater, the earlier a token is merged.
    pub scores: Vec<f32>,
    /// The token that begins a sequence.
    pub bos: Option<TokenId>,
    /// The token that ends one.
    pub eos: Option<TokenId>,
    /// The token for what is none.
    pub unknown: Option<TokenId>,
    /// Whether a text begins with `bos`, where the file tells.
    pub add_bos: Option<bool>,
    /// Whether a text ends with `eos`, where the file tells.
    pub add_eos: Option<bool>,
    /// Whether a space is put before a text, where the file tells.
    pub add_space: Option<bool>,
    /// The chat template.
    pub chat_template: Option<String>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// Text.
    Normal,
    /// Stands for what is no token.
    Unknown,
    /// Special: no text of its own.
    Control,
    /// Text that is found before anything is merged.
    UserDefined,
    /// No token.
    Unused,
    /// One byte, by the name `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// By its number in files. Numbers past those there are stand for text.
    fn new(number: u64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

impl TokenizerFields {
    /// `None` where the file has no tokens, or tokens written down in another way.
    pub(super) fn read(metadata: &Metadata) -> Result<Option<Self>> {
        let spelling = match metadata.text("tokenizer.ggml.model")? {
            Some("gpt2") => Spelling::ByteLevel,
            Some("llama") => Spelling::Pieces,
            _ => return Ok(None),
        };
        let Some(tokens) = texts(metadata, "tokenizer.ggml.tokens")? else { return Ok(None) };
        let kinds: Vec<_> = match metadata.list("tokenizer.ggml.token_type")? {
            None => vec![TokenKind::Normal; tokens.len()],
            Some(kinds) => kinds.iter().filter_map(whole).map(TokenKind::new).collect(),
        };
        let scores: Vec<_> = metadata.list("tokenizer.ggml.scores")?.unwrap_or_default().iter().collect();
        let scores: Vec<_> = scores.into_iter().filter_map(|score| score.to_f32().ok()).collect();
        let as_many = |field: &str, count: usize| {
            let reason = format!("tells of {count} tokens of {}", tokens.len());
            if count == tokens.len() { Ok(()) } else { Err(metadata.wrong(field, reason)) }
        };
        as_many("tokenizer.ggml.token_type", kinds.len())?;
        if !scores.is_empty() {
            as_many("tokenizer.ggml.scores", scores.len())?;
        }
        let id = |field: &str| {
            let Some(id) = metadata.whole(field)? else { return Ok(None) };
            let known = TokenId::try_from(id).ok().filter(|id| (*id as usize) < tokens.len());
            known.map(Some).ok_or_else(|| metadata.wrong(field, format!("is {id}, no token of the file")))
        };
        let flag = |field: &str| match metadata.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(metadata.wrong(field, "is neither true nor false")),
        };
        Ok(Some(Self {
            file: metadata.file.clone(),
            spelling,
            pre: metadata.text("tokenizer.ggml.pre")?.map(str::to_owned),
            kinds,
            merges: texts(metadata, "tokenizer.ggml.merges")?.unwrap_or_default(),
            scores,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            unknown: id("tokenizer.ggml.unknown_token_id")?,
            add_bos: flag("tokenizer.ggml.add_bos_token")?,
            add_eos: flag("tokenizer.ggml.add_eos_token")?,
            add_space: flag("tokenizer.ggml.add_space_prefix")?,
            chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_owned),
            tokens,
        }))
    }

    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// An error that names a field of the file.
    pub fn wrong(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Config { file: self.file.clone(), field: field.into(), reason: reason.into() }
    }

    /// What a token stands for.
    pub fn bytes(&self, id: TokenId) -> Option<Vec<u8>> {
        let text = self.tokens.get(id as usize)?;
        match self.kinds[id as usize] {
            TokenKind::Unused => None,
            TokenKind::Normal => Some(self.spelling.bytes(text)),
            TokenKind::Byte => {
                Some(Spelling::named_byte(text).map_or_else(|| text.as_bytes().to_vec(), |byte| vec![byte]))
            }
            _ => Some(text.as_bytes().to_vec()),
        }
    }
}

fn texts(metadata: &Metadata, field: &str) -> Result<Option<Vec<String>>> {
    let Some(list) = metadata.list(field)? else { return Ok(None) };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let texts = list.iter().map(text).collect::<Option<_>>();
    texts.map(Some).ok_or_else(|| metadata.wrong(field, "holds what is no text"))
}
