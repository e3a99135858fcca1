//! The files next to a model's weights: its tokenizer, its chat template, and the ids that end a text.
use std::path::Path;

use eft_core::{TokenId, Vocab};
use eft_models::{Error as FileError, FieldWarning};
use serde_json::Value;

use super::error::{Error, Result};
use super::loader::{Loader, Template};
use super::warning::Warning;
use crate::text::chat::ChatTemplate;
use crate::text::config::{TokenizerConfig, read_json};
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
    let config = TokenizerConfig::read(folder)?;
    let tokenizer = match given_tokenizer(loader)? {
        Some(tokenizer) => Some(tokenizer),
        None => Tokenizer::of_folder(folder, &config)?,
    };
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    let mut vocab = tokenizer.vocab(name, width)?;
    let mut eos = configured.to_vec();
    let role = config.role("eos_token");
    eos.extend(role.and_then(|role| tokenizer.id(role.token())));
    for file in ["config.json", "generation_config.json"] {
        let file = folder.join(file);
        for id in eos_ids(&file)? {
            match TokenId::try_from(id).ok().filter(|id| vocab.bytes(*id).is_some()) {
                Some(id) => eos.push(id),
                None => {
                    let finding = format!(
                        "is {id}, but {} has no such token: it is ignored",
                        tokenizer.file().display()
                    );
                    loader.on_warning.fields(&[FieldWarning::new(&file, EOS, finding)]);
                }
            }
        }
    }
    eos.retain(|id| vocab.bytes(*id).is_some());
    vocab = vocab.with_eos(eos)?;
    let renderer = renderer(loader, tokenizer, |name| Ok(ChatTemplate::of_folder(folder, &config, name)?))?;
    let vocab = with_end_of_turn(loader, vocab, &renderer)?;
    Ok(Some((vocab, renderer)))
}

/// The vocabulary, in which the token that ends the assistant's turn in the model's template also ends a text, if the
/// loader requests it. If it does not, and the token does not end a text, there is a warning.
pub(super) fn with_end_of_turn(loader: &Loader, vocab: Vocab, renderer: &TextRenderer) -> Result<Vocab> {
    let Template::Own(_) = &loader.template else { return Ok(vocab) };
    let end = renderer.end_of_turn().filter(|id| vocab.bytes(*id).is_some() && !vocab.eos().contains(id));
    let Some(id) = end else { return Ok(vocab) };
    if loader.ends_at_turns {
        return Ok(vocab.with_eos([id])?);
    }
    let (model, token) =
        (vocab.name().to_owned(), renderer.tokenizer().inner().id_to_token(id).unwrap_or_default());
    loader.on_warning.warn(&Warning::EndOfTurn { model, token, id });
    Ok(vocab)
}

const EOS: &str = "eos_token_id";

/// The end-of-sequence ids of a configuration: integers, which need not be ids of tokens.
fn eos_ids(file: &Path) -> Result<Vec<i128>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let fields = read_json(file)?;
    let ids = &fields[EOS];
    let list = ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice);
    let integer = |id: &Value| {
        let integer = id.as_i64().map(i128::from).or_else(|| id.as_u64().map(i128::from));
        let reason = || format!("holds {id}, which is not a token id");
        integer.ok_or_else(|| {
            FileError::Config { file: file.into(), field: EOS.into(), reason: reason() }.into()
        })
    };
    list.iter().filter(|id| !id.is_null()).map(integer).collect()
}

/// The tokenizer that the loader was given, if any.
pub(super) fn given_tokenizer(loader: &Loader) -> Result<Option<Tokenizer>> {
    Ok(loader.tokenizer.as_ref().map(Tokenizer::open).transpose()?)
}

/// The template that transformers uses if there are tools.
pub(super) const TOOL_USE: &str = "tool_use";

/// A renderer with the template that the loader requests. `own` returns the model's own template of a name.
pub(super) fn renderer(
    loader: &Loader,
    tokenizer: Tokenizer,
    own: impl Fn(Option<&str>) -> Result<Option<ChatTemplate>>,
) -> Result<TextRenderer> {
    let renderer = TextRenderer::new(tokenizer);
    let renderer = if loader.literal_messages { renderer.literal_messages() } else { renderer };
    Ok(match &loader.template {
        Template::Chat(template) => renderer.chat(template.clone()),
        Template::Plain(template) => renderer.plain(template.clone()),
        Template::Own(name) => {
            let has_tools = loader.variables.iter().any(|(name, _)| name == "tools");
            let for_tools = if has_tools && name.is_none() { Some(own(Some(TOOL_USE))) } else { None };
            let template = match for_tools {
                // Without such a template, the usual one is used.
                None | Some(Err(Error::Files(FileError::Config { .. })) | Ok(None)) => own(name.as_deref())?,
                Some(template) => template?,
            };
            match template {
                Some(mut template) => {
                    for (name, json) in &loader.variables {
                        template = template.json(name, json)?;
                    }
                    renderer.chat(template)
                }
                None => renderer,
            }
        }
    })
}
