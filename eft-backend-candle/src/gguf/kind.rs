//! [`TokenizerKind`] and [`TokenKind`]: the kind of a tokenizer, and that of a token.
use eft_models::Spelling;

/// The kind of a tokenizer, as `tokenizer.ggml.model` and `tokenizer.ggml.pre` name it.
///
/// ```
/// use eft_backend_candle::gguf::TokenizerKind;
/// use eft_models::Spelling;
///
/// assert_eq!(TokenizerKind::Bytes.spelling(), Spelling::ByteLevel);
/// assert_eq!(TokenizerKind::Unigram.spelling(), Spelling::Pieces);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerKind {
    /// `gpt2`: byte pair encoding, within words (GPT-2, Llama 3, Qwen).
    Bytes,
    /// `llama`: SentencePiece's byte pair encoding, in the order of scores (Llama 2, Gemma).
    Pieces,
    /// `gemma4`, and `gpt2` with a rule for words of this kind: byte pair encoding of SentencePiece's pieces, in the
    /// order of a list of merges.
    MergedPieces,
    /// `t5`: SentencePiece's unigram model, the most likely pieces by their scores (T5, XLM-R).
    Unigram,
    /// `bert`: WordPiece, the longest pieces from the left of each word. Pieces that begin a word are spelled with `▁`.
    WordPiece,
}

impl TokenizerKind {
    /// The kind for the names in a file: those of the kind and of the rule for words.
    pub(super) fn new(model: &str, pre: Option<&str>) -> Option<Self> {
        Some(match (model, pre) {
            ("gpt2", Some("gemma4" | "granite-embed-multi-311m" | "sarvam-moe")) | ("gemma4", _) => {
                Self::MergedPieces
            }
            ("gpt2", _) => Self::Bytes,
            ("llama", _) => Self::Pieces,
            ("t5", _) => Self::Unigram,
            ("bert", _) => Self::WordPiece,
            _ => return None,
        })
    }

    /// Returns how tokens of this kind of tokenizer are spelled.
    pub fn spelling(self) -> Spelling {
        if self == Self::Bytes { Spelling::ByteLevel } else { Spelling::Pieces }
    }
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Stands for text without a token.
    Unknown,
    /// A special token, for example the end of a turn: it has no text.
    Control,
    /// Text that is matched before any merge applies.
    UserDefined,
    /// An id without a token.
    Unused,
    /// One byte, spelled as in `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind for its number in files. Unknown numbers are taken for ordinary text.
    pub(super) fn new(number: u64) -> Self {
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
