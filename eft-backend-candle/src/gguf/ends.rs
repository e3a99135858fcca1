//! The tokens that end a text or a turn.
use std::collections::BTreeSet;

use eft_core::TokenId;
use eft_models::Result;

use super::kind::TokenKind;
use super::metadata::Metadata;
use super::texts::Texts;

/// The fields that name such tokens.
const FIELDS: [&str; 6] = [
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Names of tokens at which llama.cpp ends a text whatever the fields say: many files name only the end of a document,
/// and their models end a turn with another token.
const NAMES: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<|file_sep|>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Names at which llama.cpp ends a text, but which occur in ordinary text, too: only control tokens of these names end
/// one here.
const CONTROL_ONLY: [&str; 11] = [
    "</s>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
];

/// Returns the ids that end a text, in ascending order. Tokens of known names become control tokens, as in llama.cpp.
pub(super) fn read(metadata: &mut Metadata, tokens: &Texts, kinds: &mut [TokenKind]) -> Result<Vec<TokenId>> {
    let mut ends = BTreeSet::new();
    for field in FIELDS {
        let id = metadata.token_id(field, tokens.len())?;
        ends.extend(id.filter(|id| kinds[*id as usize] != TokenKind::Unused));
    }
    let has = |name: &str| tokens.iter().any(|token| token == name);
    // In these vocabularies, the token ends a part of a message and not the turn.
    let inner = (has("<|call|>") && has("<|return|>")) || (has("<|calls|>") && has("<|flush|>"));
    let excluded = |name: &str| match name {
        "<|end|>" => inner,
        "</s>" => has("<|tool_response>"),
        _ => false,
    };
    for ((id, name), kind) in (0..).zip(tokens.iter()).zip(kinds) {
        let known = match *kind {
            TokenKind::Unused => false,
            TokenKind::Control => NAMES.contains(&name) || CONTROL_ONLY.contains(&name),
            _ => NAMES.contains(&name),
        };
        if excluded(name) {
            ends.remove(&id);
        } else if known {
            *kind = TokenKind::Control;
            ends.insert(id);
        }
    }
    Ok(ends.into_iter().collect())
}
