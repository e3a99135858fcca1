//! The files next to a model's weights: its tokenizer, its chat template, and the ids that end a text.
use std::path::{Path, PathBuf};

use eft_core::{TokenId, Vocab};
use eft_models::Error as FileError;
use serde_json::Value;

use super::error::Result;
use super::loader::{Loader, Template};
use crate::text::chat::{ChatTemplate, read_json, special_token};
use crate::text::renderer::TextRenderer;
use crate::text::tokenizer::Tokenizer;

/// Returns the vocabulary of a model with `width` scores a row, and its renderer; `None` without a tokenizer.
/// `configured` are the end-of-sequence ids of its configuration.
pub(super) fn read(
    loader: &Loader,
    folder: &Path,
    name: String,
    width: usize,
    configured: &[TokenId],
) -> Result<Option<(Vocab, TextRenderer)>> {
    let tokenizer = match given_tokenizer(loader)? {
        Some(tokenizer) => Some(tokenizer),
        None => found_tokenizer(folder)?,
    };
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    let mut vocab = tokenizer.vocab(name, width)?;
    for (file, id) in eos_ids(folder, configured, &tokenizer)? {
        if vocab.bytes(id).is_none() {
            let reason = format!("is {id}, but {} has no such token", tokenizer.file().display());
            return Err(FileError::Config { file, field: "eos_token_id".into(), reason }.into());
        }
        vocab = vocab.with_eos([id])?;
    }
    let renderer = renderer(loader, tokenizer, |name| Ok(ChatTemplate::read(folder, name)?))?;
    Ok(Some((vocab, renderer)))
}

/// The tokenizer that the loader was given, if any.
pub(super) fn given_tokenizer(loader: &Loader) -> Result<Option<Tokenizer>> {
    Ok(loader.tokenizer.as_ref().map(Tokenizer::open).transpose()?)
}

/// A renderer with the template that the loader requests. `own` returns the model's own template of a name.
pub(super) fn renderer(
    loader: &Loader,
    tokenizer: Tokenizer,
    own: impl FnOnce(Option<&str>) -> Result<Option<ChatTemplate>>,
) -> Result<TextRenderer> {
    let renderer = TextRenderer::new(tokenizer);
    let renderer = if loader.literal_messages { renderer.literal_messages() } else { renderer };
    Ok(match &loader.template {
        Template::Chat(template) => renderer.chat(template.clone()),
        Template::Plain(template) => renderer.plain(template.clone()),
        Template::Own(name) => match own(name.as_deref())? {
            Some(template) => renderer.chat(template),
            None => renderer,
        },
    })
}

fn found_tokenizer(folder: &Path) -> Result<Option<Tokenizer>> {
    let file = folder.join("tokenizer.json");
    Ok(if file.exists() { Some(Tokenizer::open(file)?) } else { None })
}

/// The end-of-sequence ids, each with the file that names it: the configuration, `generation_config.json` and
/// `tokenizer_config.json`. All three are read, since no two of them agree for every model.
fn eos_ids(folder: &Path, configured: &[TokenId], tokenizer: &Tokenizer) -> Result<Vec<(PathBuf, TokenId)>> {
    let mut eos: Vec<_> = configured.iter().map(|id| (folder.join("config.json"), *id)).collect();
    if let Some((file, fields)) = fields(folder, "generation_config.json")? {
        let ids = &fields["eos_token_id"];
        for id in ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice) {
            match id.as_u64().map(TokenId::try_from) {
                Some(Ok(id)) => eos.push((file.clone(), id)),
                None if id.is_null() => {}
                _ => {
                    let reason = format!("holds {id}, which is not a token id");
                    return Err(FileError::Config { file, field: "eos_token_id".into(), reason }.into());
                }
            }
        }
    }
    if let Some((file, fields)) = fields(folder, "tokenizer_config.json")? {
        let id = special_token(&fields["eos_token"]).and_then(|token| tokenizer.id(token));
        eos.extend(id.map(|id| (file, id)));
    }
    Ok(eos)
}

fn fields(folder: &Path, name: &str) -> Result<Option<(PathBuf, Value)>> {
    let file = folder.join(name);
    Ok(if file.exists() { Some((file.clone(), read_json(&file)?)) } else { None })
}
