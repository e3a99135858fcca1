//! Byte-level BPE.
use eft_backend_candle::gguf::TokenizerFields;
use eft_models::{Error, Result};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::parts::Parts;

/// The words of Llama 3.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The words of Qwen: those of Llama 3, but with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The rules that a pre-tokenizer's name stands for.
struct Pre {
    words: Words,
    /// Whether words that are tokens are taken whole, without merging.
    ignores_merges: bool,
    /// Whether a sequence begins with a begin-of-sequence token, if the file does not say so.
    begins: bool,
    /// Whether text is normalised to Unicode's composed form (NFC).
    composed: bool,
}

/// How a text is split into words, within which bytes are merged.
enum Words {
    /// The regular expression of GPT-2.
    Gpt2,
    /// Single digits, and the rest by the regular expression of GPT-2.
    Gpt2Digits,
    Regex(&'static str),
}

const PLAIN: Pre = Pre { words: Words::Gpt2, ignores_merges: false, begins: false, composed: false };

/// The pre-tokenizers, by the names that converters write and llama.cpp reads.
const KNOWN: [(&[&str], Pre); 5] = [
    (&["gpt-2", "phi-2", "olmo", "mpt"], PLAIN),
    (&["smollm", "starcoder", "refact", "command-r"], Pre { words: Words::Gpt2Digits, ..PLAIN }),
    (
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"],
        Pre { words: Words::Regex(LLAMA3), ignores_merges: true, begins: true, ..PLAIN },
    ),
    (&["dbrx", "smaug-bpe"], Pre { words: Words::Regex(LLAMA3), ..PLAIN }),
    (
        &["qwen2", "deepseek-r1-qwen", "stablelm2"],
        Pre { words: Words::Regex(QWEN2), composed: true, ..PLAIN },
    ),
];

pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    let field = "tokenizer.ggml.pre";
    let name = fields.pre.as_deref().ok_or_else(|| fields.wrong(field, "is missing"))?;
    let Some((_, pre)) = KNOWN.iter().find(|(names, _)| names.contains(&name)) else {
        let known: Vec<_> = KNOWN.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let known = known.join(", ");
        return Err(
            fields.wrong(field, format!("is `{name}`, which is not supported; supported are: {known}"))
        );
    };
    let bad = |e: tokenizers::Error| Error::BadFile { file: fields.file().into(), reason: e.to_string() };
    let alone = ByteLevel::new(false, true, true);
    let pre_tokenizer: PreTokenizerWrapper = match pre.words {
        Words::Gpt2 => alone.into(),
        Words::Gpt2Digits => Sequence::new(vec![Digits::new(true).into(), alone.into()]).into(),
        Words::Regex(words) => {
            let words = SplitPattern::Regex(words.into());
            let split = Split::new(words, SplitDelimiterBehavior::Isolated, false).map_err(bad)?;
            Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into()
        }
    };
    Ok(Parts {
        merges: merges(fields)?,
        ignores_merges: pre.ignores_merges,
        falls_back: false,
        begins: pre.begins,
        normalizer: pre.composed.then(|| NFC.into()),
        pre_tokenizer: Some(pre_tokenizer),
        decoder: alone.into(),
    })
}

fn merges(fields: &TokenizerFields) -> Result<Vec<(String, String)>> {
    let tokens: std::collections::HashSet<_> = fields.tokens.iter().map(String::as_str).collect();
    let merge = |merge: &String| {
        // The first character belongs to the left token, even if it is a space.
        let second = merge.char_indices().nth(1).map_or(merge.len(), |(at, _)| at);
        let (left, right) = merge.split_at(second + merge[second..].find(' ')?);
        let (left, right) = (left.to_owned(), right[1..].to_owned());
        let known = [&left, &right, &format!("{left}{right}")].iter().all(|t| tokens.contains(t.as_str()));
        known.then_some((left, right))
    };
    let wrong = |text: &String| {
        fields.wrong(
            "tokenizer.ggml.merges",
            format!("holds {text:?}, which does not merge two tokens to a third"),
        )
    };
    fields.merges.iter().map(|text| merge(text).ok_or_else(|| wrong(text))).collect()
}
