//! Byte-level BPE.
use eft_backend_candle::gguf::TokenizerFields;
use eft_models::{Error, Result};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::parts::Parts;
use super::words;

pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    let Some(words) = words::named(fields.pre.as_deref()) else {
        let (name, known) = (fields.pre.as_deref().unwrap_or_default(), words::names().collect::<Vec<_>>());
        let reason = format!("is `{name}`, which is not supported; supported are: {}", known.join(", "));
        return Err(fields.wrong("tokenizer.ggml.pre", reason));
    };
    let bad = |e: tokenizers::Error| Error::BadFile { file: fields.file().into(), reason: e.to_string() };
    let split = |pattern: &&str| {
        let pattern = SplitPattern::Regex((*pattern).into());
        Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(bad)?.into())
    };
    let mut steps = words.patterns.iter().map(split).collect::<Result<Vec<PreTokenizerWrapper>>>()?;
    steps.push(ByteLevel::new(false, true, false).into());
    Ok(Parts {
        merges: merges(fields)?,
        ignores_merges: words.ignores_merges,
        falls_back: false,
        begins: words.begins,
        normalizer: words.composed.then(|| NFC.into()),
        pre_tokenizer: Some(Sequence::new(steps).into()),
        decoder: ByteLevel::new(false, true, true).into(),
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
