//! The vocabulary of a file: tokens as the bytes that they stand for.
use candle_core::quantized::gguf_file::Value;
use eft_core::{TokenId, Vocab};
use eft_models::{DecoderSpec, Result, Spelling};

use super::metadata::{Metadata, whole};

/// Kinds of tokens, by their number in the file.
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const UNUSED: u64 = 5;
const BYTE: u64 = 6;

/// Ids that end a text or a turn.
const ENDS: [&str; 2] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];

/// `None` where the file has no vocabulary, or one written down in another way.
pub(super) fn read(metadata: &Metadata, name: &str, spec: &DecoderSpec) -> Result<Option<Vocab>> {
    let spelling = match metadata.text("tokenizer.ggml.model")? {
        Some("gpt2") => Spelling::ByteLevel,
        Some("llama") => Spelling::Pieces,
        _ => return Ok(None),
    };
    let Some(tokens) = metadata.list("tokenizer.ggml.tokens")? else { return Ok(None) };
    let field = "tokenizer.ggml.token_type";
    let kinds = metadata.list(field)?;
    let kinds: Vec<_> = match kinds {
        None => vec![NORMAL; tokens.len()],
        Some(kinds) => kinds.iter().filter_map(whole).collect(),
    };
    if kinds.len() != tokens.len() {
        return Err(metadata.wrong(field, format!("tells of {} tokens of {}", kinds.len(), tokens.len())));
    }
    let texts: Option<Vec<&String>> = tokens
        .iter()
        .map(|token| match token {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect();
    let texts = texts.ok_or_else(|| metadata.wrong("tokenizer.ggml.tokens", "holds what is no text"))?;
    let bytes = texts.into_iter().zip(&kinds).map(|(text, kind)| match *kind {
        UNUSED => None,
        NORMAL => Some(spelling.bytes(text)),
        BYTE => Some(Spelling::named_byte(text).map_or_else(|| text.clone().into_bytes(), |byte| vec![byte])),
        _ => Some(text.clone().into_bytes()),
    });
    let vocab = Vocab::sparse(name, bytes)?;
    let special = (0..).zip(&kinds).filter(|(_, kind)| matches!(**kind, CONTROL | UNKNOWN)).map(|(id, _)| id);
    let vocab = vocab.with_special(special)?.with_width(spec.vocab)?;
    Ok(Some(with_ends(metadata, vocab)?))
}

fn with_ends(metadata: &Metadata, vocab: Vocab) -> Result<Vocab> {
    ENDS.iter().try_fold(vocab, |vocab, field| {
        let Some(id) = metadata.whole(field)? else { return Ok(vocab) };
        let id = TokenId::try_from(id).ok().filter(|id| vocab.bytes(*id).is_some());
        let id = id.ok_or_else(|| metadata.wrong(field, "is no token of the file"))?;
        Ok(vocab.with_eos([id])?)
    })
}
