//! Which token sequences a tokenizer makes of texts, as `eft_core` needs to know for sources over bytes.
use std::sync::Arc;

use eft_core::canonical::{Bpe, BpeTokens, Canonical, Characters, Numbers, PieceRules, Pieces};
use eft_core::{TokenId, Vocab};
use regex_syntax::hir::{Class, HirKind};
use serde_json::Value;
use tokenizers::Model;

use super::patterns::{DIGIT, GPT2, LLAMA3, QWEN2};

type Result<T> = std::result::Result<T, String>;

/// What a tokenizer of this vocabulary makes of texts. The error says why that is not known.
pub(super) fn canonical(tokenizer: &tokenizers::Tokenizer, vocab: &Vocab) -> Result<Arc<dyn Canonical>> {
    let json = |value: serde_json::Result<Value>| value.map_err(|error| error.to_string());
    normalizer(&json(serde_json::to_value(tokenizer.get_normalizer()))?)?;
    let pieces = pieces(&json(serde_json::to_value(tokenizer.get_pre_tokenizer()))?)?;
    let model = json(serde_json::to_value(tokenizer.get_model()))?;
    check_model(&model)?;
    let id = |token: &str| tokenizer.get_model().token_to_id(token);
    let merge = |merge: &Value| -> Option<(TokenId, TokenId)> {
        let (left, right) = match merge {
            Value::String(pair) => pair.split_once(' ')?,
            pair => (pair.get(0)?.as_str()?, pair.get(1)?.as_str()?),
        };
        Some((id(left)?, id(right)?))
    };
    let merges = model["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
    let merges = merges.iter().map(merge).collect::<Option<Vec<_>>>();
    let merges = merges.ok_or("a merge of its tokenizer is not of two tokens")?;
    let bpe = Bpe::new(vocab, merges).map_err(|error| error.to_string())?;
    let bpe = if model["ignore_merges"] == true { bpe.with_whole_pieces() } else { bpe };
    // Added tokens are found in a text before anything else.
    let bpe = bpe.without(tokenizer.get_added_tokens_decoder().into_keys());
    Ok(Arc::new(BpeTokens::new(bpe, Pieces::new(pieces))))
}

/// Refuses normalizers that write other texts than they read. Composing characters (NFC) is accepted: it leaves almost
/// all texts as they are.
fn normalizer(normalizer: &Value) -> Result<()> {
    match normalizer["type"].as_str() {
        None | Some("NFC") => Ok(()),
        Some(kind) => {
            Err(format!("its tokenizer has a normalizer of the kind {kind}, which may change texts"))
        }
    }
}

/// Refuses everything but byte pair encoding without extras.
fn check_model(model: &Value) -> Result<()> {
    let kind = model["type"].as_str().unwrap_or("?");
    if kind != "BPE" {
        return Err(format!("its tokenizer is of the kind {kind}; only byte-level BPE is supported"));
    }
    let set = |field: &&&str| match &model[**field] {
        Value::Null | Value::Bool(false) => false,
        value => value.as_str() != Some("") && value.as_f64() != Some(0.0),
    };
    match ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"].iter().find(set) {
        None => Ok(()),
        Some(field) => {
            Err(format!("its tokenizer has the setting {field}; only byte-level BPE is supported"))
        }
    }
}

/// The rule by which a pre-tokenizer cuts texts.
fn pieces(pre_tokenizer: &Value) -> Result<PieceRules> {
    let (mut patterns, mut byte_level) = (Vec::new(), false);
    steps(pre_tokenizer, &mut patterns, &mut byte_level)?;
    if !byte_level {
        return Err("its tokenizer does not make tokens of bytes; only byte-level BPE is supported".into());
    }
    let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
    Ok(match patterns[..] {
        [] => PieceRules::whole(),
        [GPT2] => PieceRules::gpt2(characters()?),
        [DIGIT, GPT2] => PieceRules::gpt2(characters()?).numbers(Numbers::Alone),
        [LLAMA3] => PieceRules::cl100k(characters()?),
        [QWEN2] => PieceRules::cl100k(characters()?).numbers(Numbers::UpTo(1)),
        _ => {
            return Err(format!(
                "its tokenizer cuts texts by expressions that are not known: {}",
                patterns.join(" then ")
            ));
        }
    })
}

/// Adds the regular expressions of a pre-tokenizer's steps.
fn steps(step: &Value, patterns: &mut Vec<String>, byte_level: &mut bool) -> Result<()> {
    let kind = step["type"].as_str().unwrap_or("none");
    let unknown = || Err(format!("its tokenizer cuts texts in a way that is not known: {step}"));
    match kind {
        "Sequence" => {
            let inner = step["pretokenizers"].as_array().map(Vec::as_slice).unwrap_or_default();
            inner.iter().try_for_each(|step| steps(step, patterns, byte_level))?;
        }
        "ByteLevel" if step["add_prefix_space"] == false => {
            *byte_level = true;
            if step["use_regex"] != false {
                patterns.push(GPT2.into());
            }
        }
        "Split" if step["behavior"] == "Isolated" && step["invert"] == false => {
            match step["pattern"]["Regex"].as_str() {
                Some(pattern) => patterns.push(pattern.into()),
                None => return unknown(),
            }
        }
        "Digits" if step["individual_digits"] == true => patterns.push(DIGIT.into()),
        _ => return unknown(),
    }
    Ok(())
}

/// The letters, as regular expressions define them.
fn characters() -> Result<Characters> {
    let parsed = regex_syntax::parse(r"\p{L}").map_err(|error| error.to_string())?;
    match parsed.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            Ok(Characters::new(class.iter().map(|range| range.start()..=range.end())))
        }
        _ => Err("the letters of Unicode are not known".into()),
    }
}
