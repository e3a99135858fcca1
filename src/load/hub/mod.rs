//! The Hugging Face hub: from a model's id to its files, in the cache that all of the hub's libraries share.
mod environment;
mod repository;

use std::path::{Path, PathBuf};

use eft_models::checkpoint;

use super::error::Result;
use super::loader::{Loader, Template};
use super::sidecar::TOOL_USE;
use repository::Repository;

/// The files next to the weights and their configuration that are used here.
const SIDECARS: [&str; 6] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// Splits a name into an id and the GGUF or ONNX file after a colon, if there is one. `None` if the name is not an id.
pub(super) fn parse_id(name: &str) -> Option<(&str, Option<&str>)> {
    let (id, file) = name.split_once(':').map_or((name, None), |(id, file)| (id, Some(file)));
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed) && !part.contains("..")
    };
    let (organisation, model) = id.split_once('/')?;
    let known = |file: &str| [".gguf", ".onnx"].iter().any(|extension| file.ends_with(extension));
    let inside = |file: &str| known(file) && file.split('/').all(part);
    (part(organisation) && part(model) && file.is_none_or(inside)).then_some((id, file))
}

/// Returns a GGUF file, downloaded into the cache if it is not there. If it is one of several parts of a model, the
/// others are downloaded, too.
#[cfg(feature = "candle")]
pub(super) fn fetch_gguf(loader: &Loader, id: &str, file: &str) -> Result<PathBuf> {
    let repository = Repository::open(loader, id)?;
    let path = repository.file(file)?;
    for part in eft_backend_candle::gguf::parts(Path::new(file)) {
        repository.file(&part.to_string_lossy())?;
    }
    repository.keep()?;
    Ok(path)
}

/// Returns the folder with a checkpoint's files, downloaded into the cache if they are not there.
pub(super) fn fetch_folder(loader: &Loader, id: &str) -> Result<PathBuf> {
    let repository = Repository::open(loader, id)?;
    if !repository.may_have("config.json") {
        let files = repository.ending(".gguf");
        if let Some(first) = files.first() {
            let reason = format!(
                "is missing; name a GGUF file, as in `{id}:{first}`; there are: {}",
                files.join(", ")
            );
            return Err(repository.error("config.json", reason));
        }
        if repository.may_have("adapter_config.json") {
            let reason = "is missing, since this is a PEFT adapter, not a model: download it to a folder, load its \
                          base model, and add the adapter with `Loader::adapter`";
            return Err(repository.error("config.json", reason));
        }
    }
    let config = repository.file("config.json")?;
    fetch_sidecars(&repository, loader)?;
    fetch_weights(&repository)?;
    repository.keep()?;
    Ok(config.parent().unwrap_or(Path::new("")).into())
}

/// Downloads the files of weights, in the first format that the repository has.
fn fetch_weights(repository: &Repository<'_>) -> Result<()> {
    for (whole, index) in checkpoint::WEIGHT_FILES {
        let index = if repository.may_have(index) { repository.optional(index)? } else { None };
        if let Some(index) = index {
            for shard in checkpoint::shards(&index)? {
                repository.file(&shard.file_name().unwrap_or_default().to_string_lossy())?;
            }
            return Ok(());
        }
        if repository.may_have(whole) && repository.optional(whole)?.is_some() {
            return Ok(());
        }
    }
    // There are none, so this is an error that names the usual file.
    repository.file(checkpoint::WEIGHT_FILES[0].0).map(drop)
}

/// Returns the folder with the files around a checkpoint (tokenizer, templates, configuration), downloaded into the cache
/// if they are not there. The weights are not.
#[cfg(feature = "remote")]
pub(super) fn fetch_tokenizer(loader: &Loader, id: &str) -> Result<PathBuf> {
    let repository = Repository::open(loader, id)?;
    let tokenizer = repository.file("tokenizer.json")?;
    if repository.may_have("config.json") {
        repository.optional("config.json")?;
    }
    fetch_sidecars(&repository, loader)?;
    repository.keep()?;
    Ok(tokenizer.parent().unwrap_or(Path::new("")).into())
}

/// Returns an ONNX file, by default the first of the usual ones that exists, after downloading it and the files that
/// belong to it.
#[cfg(feature = "ort")]
pub(super) fn fetch_onnx(loader: &Loader, id: &str, file: Option<&str>) -> Result<PathBuf> {
    let repository = Repository::open(loader, id)?;
    let file = match file {
        Some(file) if file.ends_with(".onnx") => file.to_owned(),
        Some(file) => return Err(repository.error(file, "is not an ONNX file")),
        None => usual_onnx(&repository)?,
    };
    let model = repository.file(&file)?;
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    for data in eft_backend_ort::model::external_data(&model)? {
        let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
        if !data.split('/').all(part) {
            return Err(repository.error(&file, format!("keeps its weights outside its folder, in `{data}`")));
        }
        repository.file(format!("{folder}/{data}").trim_start_matches('/'))?;
    }
    if repository.may_have("config.json") {
        repository.optional("config.json")?;
    }
    fetch_sidecars(&repository, loader)?;
    repository.keep()?;
    Ok(model)
}

/// Returns the first of the usual paths of ONNX files that exists in the repository.
#[cfg(feature = "ort")]
fn usual_onnx(repository: &Repository<'_>) -> Result<String> {
    let paths = eft_backend_ort::model::usual_paths;
    paths().find(|path| repository.has(path)).ok_or_else(|| {
        let paths = paths().collect::<Vec<_>>().join(", ");
        let others = match &repository.ending(".onnx")[..] {
            [] => String::new(),
            files => {
                format!(
                    "; name one, as in `{}:{}`; there are: {}",
                    repository.id(),
                    files[0],
                    files.join(", ")
                )
            }
        };
        repository.error("an ONNX file", format!("is at none of the usual paths, {paths}{others}"))
    })
}

/// Downloads the tokenizer, templates and other files next to the weights, those of them that the repository has.
fn fetch_sidecars(repository: &Repository<'_>, loader: &Loader) -> Result<()> {
    let name = match &loader.template {
        Template::Own(Some(name)) => Some(name.as_str()),
        Template::Own(None) if loader.variables.iter().any(|(name, _)| name == "tools") => Some(TOOL_USE),
        _ => None,
    };
    let named = name.map(|name| format!("additional_chat_templates/{name}.jinja"));
    let mut files = SIDECARS.into_iter().chain(named.as_deref()).filter(|file| repository.may_have(file));
    files.try_for_each(|file| repository.optional(file).map(drop))
}

#[cfg(test)]
mod tests {
    use super::parse_id;

    #[test]
    fn ids_are_an_organisation_and_a_model() {
        assert_eq!(parse_id("org/name"), Some(("org/name", None)));
        assert_eq!(parse_id("org/name:a/b-q4.gguf"), Some(("org/name", Some("a/b-q4.gguf"))));
        for name in
            ["name", "a/b/c", "../b", "a/..", "/a", "a/", "~/b", "a/b:c", "a/b:../c.gguf", "a b/c", ""]
        {
            assert_eq!(parse_id(name), None, "{name}");
        }
    }
}
