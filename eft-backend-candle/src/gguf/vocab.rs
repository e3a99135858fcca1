//! Builds the vocabulary of a file: the bytes that each token stands for, special tokens, and those that end a text.
use eft_core::{TokenId, Vocab};
use eft_models::{DecoderSpec, Result};

use super::kind::TokenKind;
use super::tokenizer::TokenizerFields;

pub(super) fn read(fields: &TokenizerFields, name: &str, spec: &DecoderSpec) -> Result<Vocab> {
    let ids = || 0..fields.tokens.len() as TokenId;
    let special =
        |id: &TokenId| matches!(fields.kinds[*id as usize], TokenKind::Control | TokenKind::Unknown);
    let vocab = Vocab::sparse(name, ids().map(|id| fields.bytes(id)))?;
    let vocab = vocab.with_special(ids().filter(special))?.with_width(spec.vocab)?;
    let ends = fields.ends.iter().copied().filter(|id| vocab.bytes(*id).is_some()).collect::<Vec<_>>();
    Ok(vocab.with_eos(ends)?)
}
