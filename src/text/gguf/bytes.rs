//! Byte-level BPE.
use eft_backend_candle::gguf::TokenizerFields;
use eft_models::Result;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::parts::{End, Parts, bad, listed_merges, pairs};
use super::words;

pub(super) fn parts(fields: &TokenizerFields) -> Result<Parts> {
    let Some(words) = words::named(fields.pre.as_deref()) else {
        let name = fields.pre.as_deref().unwrap_or_default();
        let (why, known) = (words::unsupported(name), words::names().collect::<Vec<_>>());
        let reason = format!("is `{name}`, which is not supported{why}; supported are: {}", known.join(", "));
        return Err(fields.wrong("tokenizer.ggml.pre", reason));
    };
    let split = |pattern: &&str| {
        let pattern = SplitPattern::Regex((*pattern).into());
        Ok(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(bad(fields))?.into())
    };
    let mut steps = words.patterns.iter().map(split).collect::<Result<Vec<PreTokenizerWrapper>>>()?;
    steps.push(ByteLevel::new(false, true, false).into());
    Ok(Parts {
        model: pairs(fields, listed_merges(fields)?, words.ignores_merges, false)?,
        normalizer: words.composed.then(|| NFC.into()),
        pre_tokenizer: Some(Sequence::new(steps).into()),
        decoder: ByteLevel::new(false, true, true).into(),
        begins: fields.add_bos.unwrap_or(words.begins),
        end: End::of_sequence(fields, false),
    })
}
