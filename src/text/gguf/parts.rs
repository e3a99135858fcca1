//! [`Parts`]: the parts in which the kinds of tokenizers differ.
use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_core::TokenId;
use eft_models::{Error, Result};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::models::bpe::{BpeBuilder, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::{DecoderWrapper, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// The parts of a tokenizer that depend on its kind.
pub(super) struct Parts {
    pub(super) model: ModelWrapper,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) decoder: DecoderWrapper,
    /// Whether a sequence begins with a begin-of-sequence token.
    pub(super) begins: bool,
    /// The token that ends a sequence, if one does.
    pub(super) end: Option<End>,
}

/// A token that ends every sequence.
pub(super) struct End {
    /// The field of the file that names the token.
    pub(super) field: &'static str,
    pub(super) id: Option<TokenId>,
}

impl End {
    /// The end-of-sequence token, if the file requests it, or `usual` is set and the file does not say.
    pub(super) fn of_sequence(fields: &TokenizerFields, usual: bool) -> Option<Self> {
        let wanted = fields.add_eos.unwrap_or(usual);
        wanted.then_some(Self { field: "tokenizer.ggml.eos_token_id", id: fields.eos })
    }
}

/// An error of the library `tokenizers`, as one of the file.
pub(super) fn bad(fields: &TokenizerFields) -> impl Fn(tokenizers::Error) -> Error {
    move |error| Error::BadFile { file: fields.file().into(), reason: error.to_string() }
}

/// The tokens of a file with their ids and kinds.
pub(super) fn by_id(fields: &TokenizerFields) -> impl Iterator<Item = (TokenId, &str, TokenKind)> {
    (0..).zip(fields.tokens.iter()).zip(&fields.kinds).map(|((id, text), kind)| (id, text, *kind))
}

/// The spelling of a token.
pub(super) fn text(fields: &TokenizerFields, id: TokenId) -> Option<&str> {
    fields.tokens.get(id as usize)
}

/// The ids of the tokens by their spelling.
pub(super) fn vocab(fields: &TokenizerFields) -> Vocab {
    let tokens = by_id(fields).filter(|(_, _, kind)| *kind != TokenKind::Unused);
    // With room for all: a map that grows is in memory twice meanwhile.
    let mut vocab = Vocab::with_capacity(fields.tokens.len());
    vocab.extend(tokens.map(|(id, text, _)| (text.to_owned(), id)));
    vocab
}

/// Byte pair encoding with these merges. `ignores_merges` says whether words that are tokens are taken whole, and
/// `falls_back` whether characters without a token are encoded as tokens for their bytes.
pub(super) fn pairs(
    fields: &TokenizerFields,
    merges: Vec<(String, String)>,
    ignores_merges: bool,
    falls_back: bool,
) -> Result<ModelWrapper> {
    let model = BpeBuilder::new()
        .vocab_and_merges(vocab(fields), merges)
        .ignore_merges(ignores_merges)
        .byte_fallback(falls_back)
        .fuse_unk(falls_back);
    let unknown = fields.unknown.filter(|_| falls_back).and_then(|id| text(fields, id));
    let model = match unknown {
        Some(unknown) => model.unk_token(unknown.to_owned()),
        None => model,
    };
    Ok(model.build().map_err(bad(fields))?.into())
}

/// The merges that the file lists.
///
/// # Errors
/// [`Error::Config`] if there are none, or one is not of two tokens to a third.
pub(super) fn listed_merges(fields: &TokenizerFields) -> Result<Vec<(String, String)>> {
    const FIELD: &str = "tokenizer.ggml.merges";
    if fields.merges.is_empty() && !fields.tokens.is_empty() {
        return Err(fields.wrong(FIELD, "is missing"));
    }
    let tokens: std::collections::HashSet<_> = fields.tokens.iter().collect();
    let merge = |merge: &str| {
        // The first character belongs to the left token, even if it is a space.
        let second = merge.char_indices().nth(1).map_or(merge.len(), |(at, _)| at);
        let (left, right) = merge.split_at(second + merge[second..].find(' ')?);
        let right = &right[1..];
        let known = [left, right, &format!("{left}{right}")].iter().all(|token| tokens.contains(token));
        known.then(|| (left.to_owned(), right.to_owned()))
    };
    let wrong = |text: &str| {
        fields.wrong(FIELD, format!("holds {text:?}, which does not merge two tokens to a third"))
    };
    let mut merges = Vec::with_capacity(fields.merges.len());
    for text in fields.merges.iter() {
        merges.push(merge(text).ok_or_else(|| wrong(text))?);
    }
    Ok(merges)
}

/// The scores of all tokens.
///
/// # Errors
/// [`Error::Config`] if there are none.
pub(super) fn scores(fields: &TokenizerFields) -> Result<&[f32]> {
    if fields.scores.is_empty() && !fields.tokens.is_empty() {
        return Err(fields.wrong("tokenizer.ggml.scores", "is missing"));
    }
    Ok(&fields.scores)
}

/// From pieces to text: `▁` is a space, and tokens for bytes are bytes.
pub(super) fn of_pieces(fields: &TokenizerFields) -> Result<DecoderWrapper> {
    let spaces = Replace::new("▁", " ").map_err(bad(fields))?;
    let decoders: [DecoderWrapper; 3] = [spaces.into(), ByteFallback::new().into(), Fuse::new().into()];
    Ok(Sequence::new(decoders.into()).into())
}
