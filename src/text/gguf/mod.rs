//! Tokenizers and chat templates made from the metadata of GGUF files.
//!
//! | `tokenizer.ggml.model` | |
//! | --- | --- |
//! | `gpt2` | Byte-level BPE (GPT-2, Llama 3, Qwen) merges bytes within words, which are found by the pre-tokenizer that `tokenizer.ggml.pre` names. |
//! | `llama` | SentencePiece BPE (Llama 2, Gemma) merges characters in the order of the scores of the results. |
//! | `gemma4` | The same, in the order of a list of merges. |
//! | `t5` | SentencePiece's unigram model (T5, XLM-R) takes the most likely pieces. |
//! | `bert` | WordPiece (BERT) takes the longest pieces from the left of each word. |
//!
//! A file of any other kind can be used with token ids, or with a tokenizer of your own.
//!
//! ```
//! use eft::candle::Gguf;
//! use eft::text::gguf;
//!
//! let file = Gguf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/text/gguf/llama-bpe.gguf"))?;
//! let fields = file.tokenizer().expect("the file has a tokenizer");
//! let (tokenizer, template) = (gguf::tokenizer(fields)?, gguf::template(fields, None)?);
//! assert!(tokenizer.id("<|end|>").is_some() && template.is_some());
//! # Ok::<(), eft::Error>(())
//! ```
mod bytes;
mod parts;
mod pieces;
mod replacements;
mod unigram;
mod word_piece;
mod words;

use eft_backend_candle::gguf::{TokenKind, TokenizerFields, TokenizerKind};
use eft_core::TokenId;
use eft_models::{Error, Result};
use tokenizers::AddedToken;
use tokenizers::processors::template::TemplateProcessing;

use super::chat::{ChatTemplate, DEFAULT};
use super::config;
use super::tokenizer::Tokenizer;
use parts::{End, bad, by_id, text};

/// Returns the tokenizer that a file describes.
///
/// # Errors
/// * [`Error::Config`], naming the field, if the pre-tokenizer is not supported, a field is missing, a merge is not of
///   two tokens to a third, or the replacements of characters are damaged.
/// * [`Error::BadFile`] if the fields contradict each other.
pub fn tokenizer(fields: &TokenizerFields) -> Result<Tokenizer> {
    let parts = match fields.kind {
        TokenizerKind::Bytes => bytes::parts(fields)?,
        TokenizerKind::Pieces => pieces::scored(fields)?,
        TokenizerKind::MergedPieces => pieces::listed(fields)?,
        TokenizerKind::Unigram => unigram::parts(fields)?,
        TokenizerKind::WordPiece => word_piece::parts(fields)?,
        other => {
            let reason = format!("is of the kind {other:?}, which is not supported here");
            return Err(fields.wrong("tokenizer.ggml.model", reason));
        }
    };
    let mut inner = tokenizers::Tokenizer::new(parts.model);
    inner.with_normalizer(parts.normalizer).map_err(bad(fields))?;
    inner.with_pre_tokenizer(parts.pre_tokenizer);
    inner.with_decoder(Some(parts.decoder));
    inner.with_post_processor(begin_and_end(fields, parts.begins, parts.end)?);
    inner.add_tokens(added(fields)).map_err(bad(fields))?;
    Tokenizer::new(inner, fields.file())
}

/// Returns the chat template of a file, with the file's special tokens: the one called `name`, or the one without a name.
/// If all have names and none is requested, the template that is returned refuses every conversation. Returns `None` if
/// the file has no template.
///
/// # Errors
/// * [`Error::BadFile`] with the line of a syntax error.
/// * [`Error::Config`] if no template is called `name`.
pub fn template(fields: &TokenizerFields, name: Option<&str>) -> Result<Option<ChatTemplate>> {
    let unnamed = fields.chat_template.iter().map(|source| (DEFAULT, source));
    let named = fields.named_templates.iter().map(|(name, source)| (name.as_str(), source));
    let of_file = |(name, source): (&str, &String)| (name.to_owned(), (fields.file().into(), source.clone()));
    let templates = unnamed.chain(named).map(of_file).collect();
    let template = ChatTemplate::chosen(templates, fields.file(), "tokenizer.chat_template", name)?;
    let Some(template) = template else { return Ok(None) };
    let roles = [("bos_token", fields.bos), ("eos_token", fields.eos), ("unk_token", fields.unknown)];
    let known = roles.into_iter().filter_map(|(role, id)| Some((role, text(fields, id?)?)));
    Ok(Some(known.fold(template, |template, (role, token)| template.token(role, token))))
}

/// The tokens that are matched before any merge.
fn added(fields: &TokenizerFields) -> Vec<AddedToken> {
    let token = |(_, text, kind): (TokenId, &str, TokenKind)| match kind {
        TokenKind::Control | TokenKind::Unknown => Some(AddedToken::from(text, true)),
        TokenKind::UserDefined => Some(AddedToken::from(text, false).normalized(false)),
        _ => None,
    };
    by_id(fields).filter_map(token).collect()
}

/// The tokens put before and after a sequence.
fn begin_and_end(
    fields: &TokenizerFields,
    begins: bool,
    end: Option<End>,
) -> Result<Option<TemplateProcessing>> {
    let token = |field: &str, id: Option<TokenId>| {
        let found = id.and_then(|id| Some((text(fields, id)?.to_owned(), id)));
        found.ok_or_else(|| fields.wrong(field, "is missing, though every sequence gets the token"))
    };
    let begin = begins.then(|| token("tokenizer.ggml.bos_token_id", fields.bos)).transpose()?;
    let end = end.map(|end| token(end.field, end.id)).transpose()?;
    let processing = config::begin_and_end(begin, end);
    processing.map_err(|reason| Error::BadFile { file: fields.file().into(), reason })
}
