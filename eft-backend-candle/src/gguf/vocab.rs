//! Builds the vocabulary of a file: the bytes that each token stands for, special tokens, and those that end a text.
use eft_core::{TokenId, Vocab};
use eft_models::{DecoderSpec, Result};

use super::metadata::Metadata;
use super::tokenizer::{TokenKind, TokenizerFields};

/// The fields of the tokens that end a text or a turn.
const ENDS: [&str; 2] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];

pub(super) fn read(
    metadata: &Metadata,
    fields: &TokenizerFields,
    name: &str,
    spec: &DecoderSpec,
) -> Result<Vocab> {
    let ids = || 0..fields.tokens.len() as TokenId;
    let special =
        |id: &TokenId| matches!(fields.kinds[*id as usize], TokenKind::Control | TokenKind::Unknown);
    let vocab = Vocab::sparse(name, ids().map(|id| fields.bytes(id)))?;
    let vocab = vocab.with_special(ids().filter(special))?.with_width(spec.vocab)?;
    ENDS.iter().try_fold(vocab, |vocab, field| {
        let Some(id) = metadata.whole(field)? else { return Ok(vocab) };
        let id = TokenId::try_from(id).ok().filter(|id| vocab.bytes(*id).is_some());
        let id = id.ok_or_else(|| metadata.wrong(field, "is not a token of the file"))?;
        Ok(vocab.with_eos([id])?)
    })
}
