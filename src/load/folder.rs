//! Folders in Hugging Face's layout.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eft_core::TokenId;
use eft_models::{Checkpoint, Error as FileError, Nn};
use serde_json::Value;

use super::{Loader, Model, Result};
use crate::text::chat::{read_json, special_token};
use crate::text::{ChatTemplate, Tokenizer};

pub(super) fn load<N: Nn>(loader: &Loader, nn: N, folder: &Path, name: String) -> Result<Model<N::Backend>> {
    let checkpoint = Checkpoint::open(folder)?.named(name.clone());
    let tokenizer = match loader.own_tokenizer()? {
        Some(tokenizer) => Some(tokenizer),
        None => found(folder)?,
    };
    let Some(tokenizer) = tokenizer else { return loader.model(nn, &checkpoint, None, None) };
    let mut vocab = tokenizer.vocab(name, checkpoint.spec().vocab)?;
    for (file, id) in ends(folder, checkpoint.spec().eos.clone(), &tokenizer)? {
        if vocab.bytes(id).is_none() {
            let reason = format!("is {id}, which is no token of {}", tokenizer.file().display());
            return Err(FileError::Config { file, field: "eos_token_id".into(), reason }.into());
        }
        vocab = vocab.with_eos([id])?;
    }
    let renderer = loader.renderer(tokenizer, |name| Ok(ChatTemplate::read(folder, name)?))?;
    loader.model(nn, &checkpoint, Some(Arc::new(vocab)), Some(renderer))
}

fn found(folder: &Path) -> Result<Option<Tokenizer>> {
    let file = folder.join("tokenizer.json");
    Ok(if file.exists() { Some(Tokenizer::open(file)?) } else { None })
}

/// The ids that end a text, and the files that tell of them: no two of these tell the same of every model.
fn ends(folder: &Path, configured: Vec<TokenId>, tokenizer: &Tokenizer) -> Result<Vec<(PathBuf, TokenId)>> {
    let mut ends: Vec<_> = configured.into_iter().map(|id| (folder.join("config.json"), id)).collect();
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
