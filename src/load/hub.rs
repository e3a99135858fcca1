//! The Hugging Face hub: from an id to files in its cache, which all of its libraries share.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eft_models::checkpoint;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::place::Place;
use super::{Error, Loader, Result};

/// What a folder may hold beside its weights and their configuration, as far as it is of use here.
const BESIDE: [&str; 4] =
    ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "model.safetensors";

/// What a [`Loader`] is told of the hub.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    revision: Option<String>,
    offline: bool,
    quiet: bool,
    cache: Option<PathBuf>,
    endpoint: Option<String>,
}

/// Of models on the hub.
impl Loader {
    /// At this revision: a branch, a tag or a commit. `main`, unless told.
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.hub.revision = Some(revision.into());
        self
    }

    /// From the cache only. `HF_HUB_OFFLINE=1` does the same.
    pub fn offline(mut self) -> Self {
        self.hub.offline = true;
        self
    }

    /// Without bars that show how far downloads are.
    pub fn quiet(mut self) -> Self {
        self.hub.quiet = true;
        self
    }

    /// With this folder as the cache, instead of what `HF_HUB_CACHE` or `HF_HOME` say, or that of the home directory.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.hub.cache = Some(folder.into());
        self
    }

    /// From another hub, such as a mirror, instead of what `HF_ENDPOINT` says.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.hub.endpoint = Some(url.into());
        self
    }
}

/// An id, and behind a colon the GGUF or ONNX file that is meant. `None` if it is no id.
pub(super) fn id(name: &str) -> Option<(&str, Option<&str>)> {
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

/// The model's files, from the cache or into it.
pub(super) fn fetch(loader: &Loader, id: &str, file: Option<&str>) -> Result<Place> {
    let mut hub = Hub::new(loader, id)?;
    if let Some(file) = file {
        if file.ends_with(".onnx") {
            let reason = "is an ONNX file: those are loaded by `Loader::load_onnx`, with the feature `ort`";
            return Err(hub.error(file, reason));
        }
        #[cfg(feature = "candle")]
        return hub.file(file).map(Place::Gguf);
        #[cfg(not(feature = "candle"))]
        return Err(hub.error(file, "GGUF files are read with the feature `candle`"));
    }
    let listed = hub.listed()?;
    if !has(&listed, "config.json") {
        let files = ending(&listed, ".gguf");
        if let Some(first) = files.first() {
            let reason =
                format!("is not there; name a GGUF file as `{id}:{first}`; there are: {}", files.join(", "));
            return Err(hub.error("config.json", reason));
        }
    }
    let config = hub.file("config.json")?;
    hub.beside(loader, &listed)?;
    let index = if has(&listed, INDEX) { hub.optional(INDEX)? } else { None };
    match index {
        Some(index) => {
            for shard in checkpoint::shards(&index)? {
                hub.file(&shard.file_name().unwrap_or_default().to_string_lossy())?;
            }
        }
        None => drop(hub.file(WHOLE)?),
    }
    Ok(Place::Folder(config.parent().unwrap_or(Path::new("")).into()))
}

/// The model's ONNX file, from the cache or into it, with the data and the files that belong to it.
#[cfg(feature = "ort")]
pub(super) fn fetch_onnx(loader: &Loader, id: &str, file: Option<&str>) -> Result<PathBuf> {
    let mut hub = Hub::new(loader, id)?;
    let listed = hub.listed()?;
    let file = match file {
        Some(file) if file.ends_with(".onnx") => file.to_owned(),
        Some(file) => return Err(hub.error(file, "is no ONNX file")),
        None => hub.usual_onnx(&listed)?,
    };
    let model = hub.file(&file)?;
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    for data in eft_backend_ort::model::external_data(&model)? {
        let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
        if !data.split('/').all(part) {
            return Err(hub.error(&file, format!("keeps its weights outside its folder, in `{data}`")));
        }
        hub.file(format!("{folder}/{data}").trim_start_matches('/'))?;
    }
    if has(&listed, "config.json") {
        hub.optional("config.json")?;
    }
    hub.beside(loader, &listed)?;
    Ok(model)
}

/// The names of a model's files; `None` where the cache alone can be asked.
type Listed = Option<BTreeSet<String>>;

/// Whether there may be such a file.
fn has(listed: &Listed, file: &str) -> bool {
    listed.as_ref().is_none_or(|listed| listed.contains(file))
}

fn ending<'a>(listed: &'a Listed, extension: &str) -> Vec<&'a str> {
    listed.iter().flatten().map(String::as_str).filter(|file| file.ends_with(extension)).collect()
}

/// One model of the hub.
struct Hub<'a> {
    id: &'a str,
    folder: PathBuf,
    cached: CacheRepo,
    /// `None` where the cache alone is asked.
    remote: Option<ApiRepo>,
}

impl<'a> Hub<'a> {
    fn new(loader: &Loader, id: &'a str) -> Result<Self> {
        let error = |reason: String| Error::Hub { id: id.into(), file: "the cache".into(), reason };
        let folder = loader.hub.cache.clone().or_else(cache_folder);
        let folder = folder.ok_or_else(|| error("has no folder: set HF_HOME to one".into()))?;
        let revision = loader.hub.revision.clone().unwrap_or_else(|| "main".into());
        let repo = Repo::with_revision(id.into(), RepoType::Model, revision);
        let cache = Cache::new(folder.clone());
        let remote = if loader.hub.offline || is_set("HF_HUB_OFFLINE") {
            None
        } else {
            let mut api = ApiBuilder::from_cache(cache.clone()).with_progress(!loader.hub.quiet);
            if let Some(token) = variable("HF_TOKEN") {
                api = api.with_token(Some(token));
            }
            if let Some(endpoint) = loader.hub.endpoint.clone().or_else(|| variable("HF_ENDPOINT")) {
                api = api.with_endpoint(endpoint.trim_end_matches('/').into());
            }
            Some(api.build().map_err(|e| error(e.to_string()))?.repo(repo.clone()))
        };
        Ok(Self { id, folder, cached: cache.repo(repo), remote })
    }

    /// The names of its files; `None` where the hub is not to be asked, or not there.
    fn listed(&mut self) -> Result<Listed> {
        let Some(remote) = &self.remote else { return Ok(None) };
        match remote.info() {
            Ok(info) => Ok(Some(info.siblings.into_iter().map(|file| file.rfilename).collect())),
            Err(_) if self.cached.get("config.json").is_some() => {
                self.remote = None;
                Ok(None)
            }
            Err(error) => Err(self.failed("its list of files", &error)),
        }
    }

    /// Gets what lies beside the weights.
    fn beside(&self, loader: &Loader, listed: &Listed) -> Result<()> {
        let named = match &loader.template {
            super::Template::Own(Some(name)) => Some(format!("additional_chat_templates/{name}.jinja")),
            _ => None,
        };
        let mut files = BESIDE.into_iter().chain(named.as_deref()).filter(|file| has(listed, file));
        files.try_for_each(|file| self.optional(file).map(drop))
    }

    /// The first of the usual places of ONNX files that has one.
    #[cfg(feature = "ort")]
    fn usual_onnx(&self, listed: &Listed) -> Result<String> {
        let there = |file: &String| match listed {
            Some(listed) => listed.contains(file),
            None => self.cached.get(file).is_some(),
        };
        let places = eft_backend_ort::model::usual_paths;
        places().find(there).ok_or_else(|| {
            let places = places().collect::<Vec<_>>().join(", ");
            let others = match &ending(listed, ".onnx")[..] {
                [] => String::new(),
                files => format!("; name one as `{}:{}`; there are: {}", self.id, files[0], files.join(", ")),
            };
            self.error("an ONNX file", format!("is in none of the usual places, {places}{others}"))
        })
    }

    fn file(&self, file: &str) -> Result<PathBuf> {
        if let Some(path) = self.cached.get(file) {
            return Ok(path);
        }
        match &self.remote {
            Some(remote) => remote.download(file).map_err(|error| self.failed(file, &error)),
            None => {
                let folder = self.folder.display();
                Err(self
                    .error(file, format!("is not in the cache, {folder}, and offline nothing is fetched")))
            }
        }
    }

    /// A file that some models do without: those that the cache alone is asked for may not be there.
    fn optional(&self, file: &str) -> Result<Option<PathBuf>> {
        match &self.remote {
            None => Ok(self.cached.get(file)),
            Some(_) => self.file(file).map(Some),
        }
    }

    fn error(&self, file: &str, reason: impl Into<String>) -> Error {
        Error::Hub { id: self.id.into(), file: file.into(), reason: reason.into() }
    }

    /// What the hub said, in one line, and what to do.
    fn failed(&self, file: &str, error: &ApiError) -> Error {
        let status = match error {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        let reason = match status {
            Some(401 | 403) => format!(
                "is refused (status {}): the model does not exist, or needs a token in HF_TOKEN, of an account that \
                 has agreed to its terms",
                status.unwrap_or_default()
            ),
            Some(404) => "is not there (status 404): is the id, and the revision, spelled right?".into(),
            Some(status) => format!("the hub answers with status {status}; try again later"),
            None => format!("{error}; what was fetched before can be loaded with HF_HUB_OFFLINE=1"),
        };
        self.error(file, reason)
    }
}

/// Where all libraries of the hub keep their files.
fn cache_folder() -> Option<PathBuf> {
    let path = |name| variable(name).map(PathBuf::from);
    let home = || Some(std::env::home_dir()?.join(".cache"));
    path("HF_HUB_CACHE").or_else(|| {
        let below = |base: PathBuf| base.join("huggingface");
        let home = path("HF_HOME").or_else(|| path("XDG_CACHE_HOME").or_else(home).map(below));
        home.map(|home| home.join("hub"))
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_are_an_organisation_and_a_model() {
        assert_eq!(id("org/name"), Some(("org/name", None)));
        assert_eq!(id("org/name:a/b-q4.gguf"), Some(("org/name", Some("a/b-q4.gguf"))));
        for name in
            ["name", "a/b/c", "../b", "a/..", "/a", "a/", "~/b", "a/b:c", "a/b:../c.gguf", "a b/c", ""]
        {
            assert_eq!(id(name), None, "{name}");
        }
    }
}
