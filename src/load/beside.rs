//! What lies beside a model's weights: its tokenizer, its chat template, and what ends a text.
use std::path::{Path, PathBuf};

use eft_core::{TokenId, Vocab};
use eft_models::Error as FileError;
use serde_json::Value;

use super::{Loader, Result};
use crate::text::chat::{read_json, special_token};
use crate::text::{ChatTemplate, TextRenderer, Tokenizer};

/// The vocabulary of a model of so many scores a row, and what renders its prompts; `None` without a tokenizer.
/// `configured` are the ids that end a text by its configuration.
pub(super) fn read(
    loader: &Loader,
    folder: &Path,
    name: String,
    width: usize,
    configured: &[TokenId],
) -> Result<Option<(Vocab, TextRenderer)>> {
    let tokenizer = match loader.own_tokenizer()? {
        Some(tokenizer) => Some(tokenizer),
        None => found(folder)?,
    };
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    let mut vocab = tokenizer.vocab(name, width)?;
    for (file, id) in ends(folder, configured, &tokenizer)? {
        if vocab.bytes(id).is_none() {
            let reason = format!("is {id}, which is no token of {}", tokenizer.file().display());
            return Err(FileError::Config { file, field: "eos_token_id".into(), reason }.into());
        }
        vocab = vocab.with_eos([id])?;
    }
    let renderer = loader.renderer(tokenizer, |name| Ok(ChatTemplate::read(folder, name)?))?;
    Ok(Some((vocab, renderer)))
}

fn found(folder: &Path) -> Result<Option<Tokenizer>> {
    let file = folder.join("tokenizer.json");
    Ok(if file.exists() { Some(Tokenizer::open(file)?) } else { None })
}

/// The ids that end a text, and the files that tell of them: no two of these tell the same of every model.
fn ends(folder: &Path, configured: &[TokenId], tokenizer: &Tokenizer) -> Result<Vec<(PathBuf, TokenId)>> {
    let mut ends: Vec<_> = configured.iter().map(|id| (folder.join("config.json"), *id)).collect();
    if let Some((file, fields)) = fields(folder, "generation_config.json")? {
        let ids = &fields["eos_token_id"];
        for id in ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice) {
            match id.as_u64().map(TokenId::try_from) {
                Some(Ok(id)) => ends.push((file.clone(), id)),
                None if id.is_null() => {}
                _ => {
                    let reason = format!("holds {id}, not a token id");
                    return Err(FileError::Config { file, field: "eos_token_id".into(), reason }.into());
                }
            }
        }
    }
    if let Some((file, fields)) = fields(folder, "tokenizer_config.json")? {
        let end = special_token(&fields["eos_token"]).and_then(|token| tokenizer.id(token));
        ends.extend(end.map(|id| (file, id)));
    }
    Ok(ends)
}

fn fields(folder: &Path, name: &str) -> Result<Option<(PathBuf, Value)>> {
    let file = folder.join(name);
    Ok(if file.exists() { Some((file.clone(), read_json(&file)?)) } else { None })
}
