//! [`Parts`]: the parts in which byte-level and SentencePiece BPE differ.
use eft_backend_candle::gguf::{TokenKind, TokenizerFields};
use eft_core::TokenId;

/// The parts of a tokenizer that depend on the kind of its vocabulary.
pub(super) struct Parts {
    pub(super) merges: Vec<(String, String)>,
    /// Whether words that are tokens are taken whole, without merging.
    pub(super) ignores_merges: bool,
    /// Whether characters without a token are encoded as tokens for their bytes.
    pub(super) falls_back: bool,
    /// Whether a sequence begins with a begin-of-sequence token, if the file does not say so.
    pub(super) begins: bool,
    pub(super) normalizer: Option<tokenizers::NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<tokenizers::PreTokenizerWrapper>,
    pub(super) decoder: tokenizers::DecoderWrapper,
}

/// The tokens of a file with their ids and kinds.
pub(super) fn by_id(fields: &TokenizerFields) -> impl Iterator<Item = (TokenId, &String, TokenKind)> {
    (0..).zip(&fields.tokens).zip(&fields.kinds).map(|((id, text), kind)| (id, text, *kind))
}
