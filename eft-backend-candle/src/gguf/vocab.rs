//! The vocabulary of a file: tokens as the bytes that they stand for.
use candle_core::quantized::gguf_file::Value;
use eft_core::{TokenId, Vocab};
use eft_models::{DecoderSpec, Result};

use super::metadata::{Metadata, whole};

/// How the tokens are written down.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    /// Bytes as characters, a mapping of GPT-2's.
    Bytes,
    /// Spaces as `▁`.
    Pieces,
}

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
    let model = match metadata.text("tokenizer.ggml.model")? {
        Some("gpt2") => Model::Bytes,
        Some("llama") => Model::Pieces,
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
    let table = Table::new();
    let bytes = texts.into_iter().zip(&kinds).map(|(text, kind)| match (*kind, model) {
        (UNUSED, _) => None,
        (NORMAL, Model::Bytes) => Some(table.bytes(text)),
        (NORMAL, Model::Pieces) => Some(text.replace('▁', " ").into_bytes()),
        (BYTE, _) => Some(byte(text).map_or_else(|| text.clone().into_bytes(), |byte| vec![byte])),
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

/// `<0x0A>`.
fn byte(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

/// GPT-2's characters for bytes: printable ones for themselves, others, in order, from U+0100 on.
struct Table {
    /// By character, up to the last one that there is.
    bytes: [Option<u8>; 0x144],
}

impl Table {
    fn new() -> Self {
        let mut bytes = [None; 0x144];
        let mut next = 0x100;
        for byte in 0..=u8::MAX {
            let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
            let character = if printable { usize::from(byte) } else { next };
            bytes[character] = Some(byte);
            next += usize::from(!printable);
        }
        Self { bytes }
    }

    /// What a token stands for. One of other characters stands for those.
    fn bytes(&self, text: &str) -> Vec<u8> {
        let byte = |c: char| self.bytes.get(c as usize).copied().flatten();
        text.chars().map(byte).collect::<Option<_>>().unwrap_or_else(|| text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_gpt2() {
        let table = Table::new();
        assert_eq!(table.bytes("ĠhelloĊ"), b" hello\n");
        assert_eq!(table.bytes("Ã©"), "é".as_bytes());
        assert_eq!(table.bytes("ŃĀ"), [0xAD, 0]);
        assert_eq!(table.bytes("語"), "語".as_bytes());
        assert_eq!(table.bytes.iter().flatten().count(), 256);
    }

    #[test]
    fn bytes_are_read_by_their_number() {
        assert_eq!(
            [byte("<0x0A>"), byte("<0xFF>"), byte("<0x100>"), byte("x")],
            [Some(10), Some(255), None, None]
        );
    }
}
