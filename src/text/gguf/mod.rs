//! Tokenizers and chat templates of GGUF files: what their metadata tell, as the parts that a `tokenizer.json` has.
//!
//! Vocabularies of GPT-2's kind (`gpt2`) are merged from bytes, after a text was cut by the expression that
//! `tokenizer.ggml.pre` names; those of SentencePiece's (`llama`) from characters, by their scores.
//!
//! ```no_run
//! use eft::candle::Gguf;
//! use eft::text::gguf;
//!
//! let file = Gguf::open("smollm2-135m-instruct-q4_k_m.gguf")?;
//! let tokenizer = file.tokenizer().map(gguf::tokenizer).transpose()?;
//! let template = file.tokenizer().map(gguf::template).transpose()?.flatten();
//! # Ok::<(), eft::models::Error>(())
//! ```
mod bytes;
mod pieces;

use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_core::TokenId;
use eft_models::{Error, Result, Spelling};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BpeBuilder, Vocab};
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};

use super::{ChatTemplate, Tokenizer};

/// The tokenizer that a file describes.
///
/// # Errors
/// [`Error::Config`] naming the field: a pre-tokenizer that is not known here, merges of what are no tokens.
pub fn tokenizer(fields: &TokenizerFields) -> Result<Tokenizer> {
    let parts = match fields.spelling {
        Spelling::ByteLevel => bytes::parts(fields)?,
        Spelling::Plain | Spelling::Pieces => pieces::parts(fields)?,
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
    inner.with_post_processor(ends(fields, parts.begins)?);
    inner.add_tokens(added(fields)).map_err(bad)?;
    Tokenizer::new(inner, fields.file())
}

/// The chat template of a file, which knows its special tokens.
///
/// # Errors
/// As [`ChatTemplate::new`].
pub fn template(fields: &TokenizerFields) -> Result<Option<ChatTemplate>> {
    let Some(source) = &fields.chat_template else { return Ok(None) };
    let template = ChatTemplate::new(fields.file(), source)?;
    let roles = [("bos_token", fields.bos), ("eos_token", fields.eos), ("unk_token", fields.unknown)];
    let known = roles.into_iter().filter_map(|(role, id)| Some((role, text(fields, id?)?)));
    Ok(Some(known.fold(template, |template, (role, token)| template.token(role, token))))
}

/// What the two kinds of vocabulary do not share.
struct Parts {
    merges: Vec<(String, String)>,
    /// Words that are tokens are taken as they are.
    ignores_merges: bool,
    /// Characters that are no tokens become tokens for their bytes.
    falls_back: bool,
    /// Whether a sequence begins with a token for that, where the file does not tell.
    begins: bool,
    normalizer: Option<tokenizers::NormalizerWrapper>,
    pre_tokenizer: Option<tokenizers::PreTokenizerWrapper>,
    decoder: tokenizers::DecoderWrapper,
}

fn text(fields: &TokenizerFields, id: TokenId) -> Option<&str> {
    fields.tokens.get(id as usize).map(String::as_str)
}

fn by_id(fields: &TokenizerFields) -> impl Iterator<Item = (TokenId, &String, TokenKind)> {
    (0..).zip(&fields.tokens).zip(&fields.kinds).map(|((id, text), kind)| (id, text, *kind))
}

fn vocab(fields: &TokenizerFields) -> Vocab {
    let tokens = by_id(fields).filter(|(_, _, kind)| *kind != TokenKind::Unused);
    tokens.map(|(id, text, _)| (text.clone(), id)).collect()
}

/// Tokens that are found before anything is merged.
fn added(fields: &TokenizerFields) -> Vec<AddedToken> {
    let token = |(_, text, kind): (TokenId, &String, TokenKind)| match kind {
        TokenKind::Control | TokenKind::Unknown => Some(AddedToken::from(text.clone(), true)),
        TokenKind::UserDefined => Some(AddedToken::from(text.clone(), false).normalized(false)),
        _ => None,
    };
    by_id(fields).filter_map(token).collect()
}

/// What is put before and behind a text.
fn ends(fields: &TokenizerFields, begins: bool) -> Result<Option<TemplateProcessing>> {
    let [begin, end] = [
        ("begin", fields.add_bos.unwrap_or(begins), fields.bos, "tokenizer.ggml.bos_token_id"),
        ("end", fields.add_eos.unwrap_or(false), fields.eos, "tokenizer.ggml.eos_token_id"),
    ]
    .map(|(name, wanted, id, field)| match id.and_then(|id| Some((id, text(fields, id)?))) {
        _ if !wanted => Ok(None),
        Some((id, text)) => Ok(Some((name, id, text))),
        None => Err(fields.wrong(field, "is missing, though every text has it")),
    });
    let (begin, end) = (begin?, end?);
    let names = [begin.map(|(name, ..)| name), Some("$A"), end.map(|(name, ..)| name)];
    let template = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if begin.is_none() && end.is_none() {
        return Ok(None);
    }
    let bad = |reason: String| Error::BadFile { file: fields.file().into(), reason };
    let tokens = [begin, end].into_iter().flatten();
    let tokens = tokens.map(|(name, id, text)| SpecialToken::new(name.into(), vec![id], vec![text.into()]));
    let tokens = tokens.collect::<Result<Vec<_>, _>>().map_err(|e| bad(e.to_string()))?;
    let mut processing = TemplateProcessing::builder();
    processing.try_single(template.as_str()).map_err(bad)?.special_tokens(tokens);
    processing.build().map(Some).map_err(|e| bad(e.to_string()))
}
