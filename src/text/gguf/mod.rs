//! Tokenizers and chat templates made from the metadata of GGUF files.
//!
//! Byte-level BPE (`gpt2`: GPT-2, Llama 3, Qwen) merges bytes within words, which are found by the pre-tokenizer
//! that `tokenizer.ggml.pre` names. SentencePiece BPE (`llama`: Llama 2, Gemma) merges characters in the order of
//! the scores of the results.
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
mod words;

use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_core::TokenId;
use eft_models::{Error, Result, Spelling};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BpeBuilder, Vocab};
use tokenizers::processors::template::TemplateProcessing;

use super::chat::{ChatTemplate, DEFAULT};
use super::config;
use super::tokenizer::Tokenizer;
use parts::by_id;

/// Returns the tokenizer that a file describes.
///
/// # Errors
/// * [`Error::Config`], naming the field, if the pre-tokenizer is not supported, a field is missing, or a merge is not
///   of two tokens to a third.
/// * [`Error::BadFile`] if the fields contradict each other.
pub fn tokenizer(fields: &TokenizerFields) -> Result<Tokenizer> {
    let parts = match fields.spelling {
        Spelling::ByteLevel => bytes::parts(fields)?,
        Spelling::Plain | Spelling::Pieces | Spelling::Words => pieces::parts(fields)?,
    };
    let bad =
        |reason: tokenizers::Error| Error::BadFile { file: fields.file().into(), reason: reason.to_string() };
    let model = BpeBuilder::new()
        .vocab_and_merges(vocab(fields), parts.merges)
        .ignore_merges(parts.ignores_merges)
        .byte_fallback(parts.falls_back)
        .fuse_unk(parts.falls_back);
    let unknown = fields.unknown.filter(|_| parts.falls_back).and_then(|id| text(fields, id));
    let model = match unknown {
        Some(unknown) => model.unk_token(unknown.to_owned()),
        None => model,
    };
    let mut inner = tokenizers::Tokenizer::new(model.build().map_err(bad)?);
    inner.with_normalizer(parts.normalizer).map_err(bad)?;
    inner.with_pre_tokenizer(parts.pre_tokenizer);
    inner.with_decoder(Some(parts.decoder));
    inner.with_post_processor(begin_and_end(fields, parts.begins)?);
    inner.add_tokens(added(fields)).map_err(bad)?;
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

fn text(fields: &TokenizerFields, id: TokenId) -> Option<&str> {
    fields.tokens.get(id as usize).map(String::as_str)
}

fn vocab(fields: &TokenizerFields) -> Vocab {
    let tokens = by_id(fields).filter(|(_, _, kind)| *kind != TokenKind::Unused);
    tokens.map(|(id, text, _)| (text.clone(), id)).collect()
}

/// The tokens that are matched before any merge.
fn added(fields: &TokenizerFields) -> Vec<AddedToken> {
    let token = |(_, text, kind): (TokenId, &String, TokenKind)| match kind {
        TokenKind::Control | TokenKind::Unknown => Some(AddedToken::from(text.clone(), true)),
        TokenKind::UserDefined => Some(AddedToken::from(text.clone(), false).normalized(false)),
        _ => None,
    };
    by_id(fields).filter_map(token).collect()
}

/// The tokens put before and after a sequence.
fn begin_and_end(fields: &TokenizerFields, begins: bool) -> Result<Option<TemplateProcessing>> {
    let [begin, end] = [
        (fields.add_bos.unwrap_or(begins), fields.bos, "tokenizer.ggml.bos_token_id"),
        (fields.add_eos.unwrap_or(false), fields.eos, "tokenizer.ggml.eos_token_id"),
    ]
    .map(|(wanted, id, field)| match id.and_then(|id| Some((id, text(fields, id)?))) {
        _ if !wanted => Ok(None),
        Some(found) => Ok(Some(found)),
        None => Err(fields.wrong(field, "is missing, though every sequence gets the token")),
    });
    let token = |found: Option<(TokenId, &str)>| found.map(|(id, text)| (text.to_owned(), id));
    let processing = config::begin_and_end(token(begin?), token(end?));
    processing.map_err(|reason| Error::BadFile { file: fields.file().into(), reason })
}
