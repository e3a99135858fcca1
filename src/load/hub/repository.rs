//! [`Repository`]: the files of one commit of a model on the hub.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::environment::{cache_folder, is_set, variable};
use crate::load::error::{Error, Result};
use crate::load::loader::Loader;
use crate::load::warning::Warning;

/// One commit of a model on the hub, and its files in the cache.
///
/// A branch may move while files are downloaded. So the revision is resolved to a commit once, and every file is taken
/// from that commit.
pub(super) struct Repository<'a> {
    id: &'a str,
    /// The folder of the cache.
    folder: PathBuf,
    cache: CacheRepo,
    /// The requested branch, tag or commit.
    revision: String,
    commit: String,
    files: Files,
}

/// Where files that are not in the cache come from.
enum Files {
    /// From the hub, which has files of these names at the commit.
    Remote { repo: Box<ApiRepo>, names: BTreeSet<String> },
    /// From nowhere, for this reason.
    CacheOnly { reason: String },
}

impl<'a> Repository<'a> {
    /// Resolves the revision to a commit: by the hub, or by the cache if the loader is offline. If the hub does not
    /// answer, the cache is used with a warning; if it refuses, that is an error.
    pub(super) fn open(loader: &Loader, id: &'a str) -> Result<Self> {
        let error = |file: &str, reason: String| Error::Hub { id: id.into(), file: file.into(), reason };
        let folder = loader.hub.cache.clone().or_else(cache_folder);
        let folder = folder.ok_or_else(|| error("the cache", "has no folder: set HF_HOME to one".into()))?;
        let revision = loader.hub.revision.clone().unwrap_or_else(|| "main".into());
        if !is_path_within(&revision) {
            return Err(error("the revision", format!("`{revision}` is not a branch, tag or commit")));
        }
        let repo = |revision: &str| Repo::with_revision(id.into(), RepoType::Model, revision.into());
        let cache = Cache::new(folder.clone());
        let in_cache = cached_commit(&folder, &repo(&revision));
        let cache_only = |commit: Option<String>, reason: String| match commit {
            Some(commit) => Ok((commit, Files::CacheOnly { reason })),
            None => {
                let file = format!("the revision `{revision}`");
                Err(error(&file, format!("is not in the cache, {}, and {reason}", folder.display())))
            }
        };
        let offline = loader.hub.offline || is_set("HF_HUB_OFFLINE");
        let (commit, files) = if offline {
            cache_only(in_cache, "nothing is downloaded while offline".into())?
        } else {
            let api =
                api(loader, &cache).map_err(|e| error("its client", format!("cannot be set up: {e}")))?;
            match api.repo(repo(&revision)).info() {
                Ok(info) if !is_commit(&info.sha) => {
                    return Err(error(
                        "the commit",
                        format!("was reported as `{}`, which is not a commit hash", info.sha),
                    ));
                }
                Ok(info) => {
                    let names = info.siblings.into_iter().map(|file| file.rfilename).collect();
                    (info.sha.clone(), Files::Remote { repo: Box::new(api.repo(repo(&info.sha))), names })
                }
                Err(failure) if in_cache.is_none() || is_refusal(&failure) => {
                    return Err(error("its list of files", failed(&failure, in_cache.as_deref())));
                }
                Err(failure) => cache_only(in_cache, no_answer(&failure))?,
            }
        };
        if let Files::CacheOnly { reason } = &files
            && !offline
        {
            loader.on_warning.warn(&Warning::CacheUsed {
                id: id.into(),
                revision: revision.clone(),
                commit: commit.clone(),
                reason: reason.clone(),
            });
        }
        Ok(Self { id, folder, cache: cache.repo(repo(&revision)), revision, commit, files })
    }

    /// The model's id.
    #[cfg(feature = "ort")]
    pub(super) fn id(&self) -> &str {
        self.id
    }

    /// Whether the commit may have a file of this path: as the hub lists its files, or always if only the cache is
    /// used.
    pub(super) fn may_have(&self, file: &str) -> bool {
        match &self.files {
            Files::Remote { names, .. } => names.contains(file),
            Files::CacheOnly { .. } => true,
        }
    }

    /// Whether there is a file of this path: on the hub, or in the cache if only the cache is used.
    #[cfg(feature = "ort")]
    pub(super) fn has(&self, file: &str) -> bool {
        self.may_have(file) && (matches!(self.files, Files::Remote { .. }) || self.cached_path(file).exists())
    }

    /// The files whose names end with this extension, as the hub lists them; none if only the cache is used.
    pub(super) fn ending(&self, extension: &str) -> Vec<&str> {
        match &self.files {
            Files::Remote { names, .. } => {
                names.iter().map(String::as_str).filter(|file| file.ends_with(extension)).collect()
            }
            Files::CacheOnly { .. } => Vec::new(),
        }
    }

    /// Returns a file of the commit, downloaded into the cache if it is not there.
    pub(super) fn file(&self, file: &str) -> Result<PathBuf> {
        let path = self.cached_path(file);
        if path.exists() {
            return Ok(path);
        }
        match &self.files {
            Files::CacheOnly { reason } => {
                Err(self.error(file, format!("is not in the cache, {}, and {reason}", self.folder.display())))
            }
            Files::Remote { repo, .. } => {
                let cached = cached_commit(&self.folder, &self.repo());
                let found =
                    repo.download(file).map_err(|e| self.error(file, failed(&e, cached.as_deref())))?;
                if found != path {
                    let reason = format!("was sent from another commit than {}; try again", self.commit);
                    return Err(self.error(file, reason));
                }
                Ok(path)
            }
        }
    }

    /// Returns a file as [`file`](Self::file) does, but without an error if only the cache is used and lacks the file:
    /// `None`, since many models have no such file.
    pub(super) fn optional(&self, file: &str) -> Result<Option<PathBuf>> {
        match &self.files {
            Files::CacheOnly { .. } => Ok(Some(self.cached_path(file)).filter(|path| path.exists())),
            Files::Remote { .. } => self.file(file).map(Some),
        }
    }

    /// Records in the cache that the revision is at this commit. Call it after all files have been downloaded: until
    /// then, the revision stays at an older commit, whose files are complete and can be loaded offline.
    pub(super) fn keep(&self) -> Result<()> {
        if matches!(self.files, Files::CacheOnly { .. })
            || cached_commit(&self.folder, &self.repo()).as_deref() == Some(&self.commit)
        {
            return Ok(());
        }
        self.cache.create_ref(&self.commit).map_err(|e| {
            self.error("the cache", format!("cannot be written, {}: {e}", self.folder.display()))
        })
    }

    pub(super) fn error(&self, file: &str, reason: impl Into<String>) -> Error {
        Error::Hub { id: self.id.into(), file: file.into(), reason: reason.into() }
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.id.into(), RepoType::Model, self.revision.clone())
    }

    fn cached_path(&self, file: &str) -> PathBuf {
        self.cache.pointer_path(&self.commit).join(file)
    }
}

/// The hub's client, with the options and the environment's.
fn api(loader: &Loader, cache: &Cache) -> Result<Api, ApiError> {
    let mut api = ApiBuilder::from_cache(cache.clone()).with_progress(!loader.hub.quiet);
    if let Some(token) = variable("HF_TOKEN") {
        api = api.with_token(Some(token));
    }
    if let Some(endpoint) = loader.hub.endpoint.clone().or_else(|| variable("HF_ENDPOINT")) {
        api = api.with_endpoint(endpoint.trim_end_matches('/').into());
    }
    api.build()
}

/// The commit that a revision stands for in the cache: by a reference, or because the revision is itself a commit in
/// the cache.
fn cached_commit(folder: &Path, repo: &Repo) -> Option<String> {
    let folder = folder.join(repo.folder_name());
    let reference = std::fs::read_to_string(folder.join("refs").join(repo.revision())).ok();
    let reference = reference.map(|commit| commit.trim().to_owned());
    let itself = || is_commit(repo.revision()).then(|| repo.revision().to_owned());
    let commit = reference.filter(|commit| is_commit(commit)).or_else(itself)?;
    folder.join("snapshots").join(&commit).is_dir().then_some(commit)
}

/// Whether a text can be the hash of a commit, and so the name of a folder in the cache.
fn is_commit(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a revision is a relative path that does not leave its folder: the cache has a file for each.
fn is_path_within(revision: &str) -> bool {
    revision.split('/').all(|part| !matches!(part, "" | "." | "..")) && !revision.contains(['\\', '\0'])
}

/// The status that the hub answered with, if it did.
fn status(failure: &ApiError) -> Option<u16> {
    match failure {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// Whether the hub has answered with a refusal, which is permanent, unlike an outage.
fn is_refusal(failure: &ApiError) -> bool {
    // 408 and 429 ask to come back later.
    status(failure).is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 429))
}

fn no_answer(failure: &ApiError) -> String {
    match status(failure) {
        Some(status) => format!("the hub answers with status {status}"),
        None => format!("the hub does not answer: {failure}"),
    }
}

/// Says in one line why a file could not be downloaded, and what to do. `cached` is the commit in the cache, if there
/// is one.
fn failed(failure: &ApiError, cached: Option<&str>) -> String {
    let reason = match status(failure) {
        Some(status @ (401 | 403)) => format!(
            "is refused (status {status}): the model does not exist, or is private or gated; for one of those, agree to \
             its terms on its page and set HF_TOKEN to a token of your account"
        ),
        Some(404) => {
            "does not exist (status 404): check that the id and the revision are spelled right".into()
        }
        Some(_) | None => format!("cannot be downloaded: {}; try again later", no_answer(failure)),
    };
    match cached {
        Some(commit) => format!("{reason}; HF_HUB_OFFLINE=1 loads commit {commit} from the cache"),
        None => reason,
    }
}
