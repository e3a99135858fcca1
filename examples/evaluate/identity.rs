//! What identifies the models that were run.
use std::path::{Path, PathBuf};

use anyhow::Result;
use eft_eval::{Run, content_hash};

use super::flags::{Mode, ModelFlags};

/// The hashes of the models, by their roles.
pub(crate) struct Identity(Vec<(String, String)>);

impl Identity {
    /// Hashes the files of the models that the flags name. A model on the hub that is not in its cache is only named.
    pub(crate) fn of(flags: &ModelFlags) -> Result<Self> {
        let zoo = |name: &str| format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"));
        let own = flags.large.is_some();
        let (tuned, reference) = match flags.mode {
            Mode::Down => ("tuned-large", "tuned-small"),
            _ => ("tuned-small", "tuned-large"),
        };
        let mut named: Vec<(&str, String)> = Vec::new();
        for (role, name, of_zoo) in [
            ("large", &flags.large, "base-large"),
            ("small", &flags.small, "base-small"),
            ("tuned", &flags.tuned, tuned),
            ("reference", &flags.reference, reference),
        ] {
            match name {
                Some(name) => named.push((role, name.clone())),
                None if own => {}
                None => named.push((role, zoo(of_zoo))),
            }
        }
        named.extend(flags.others.iter().map(|(role, name)| (&role[..], name.clone())));
        let mut hashes = Vec::new();
        for (role, name) in named {
            let short = Path::new(&name)
                .file_name()
                .map_or_else(Default::default, |n| n.to_string_lossy().into_owned());
            let hash = match path(&name) {
                Some(path) => format!("{short} {}", content_hash(path)?),
                None => name,
            };
            hashes.push((role.into(), hash));
        }
        Ok(Self(hashes))
    }

    /// Records the models in a run.
    pub(crate) fn record<'t>(&self, run: Run<'t>) -> Run<'t> {
        self.0.iter().fold(run, |run, (role, hash)| run.model(role, hash))
    }
}

/// The file or folder of a model.
fn path(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Some(path);
    }
    cached(name)
}

/// The file or folder of a model in the cache of the hub.
#[cfg(feature = "hub")]
fn cached(name: &str) -> Option<PathBuf> {
    let (id, file) = name.split_once(':').map_or((name, None), |(id, file)| (id, Some(file)));
    let found = hf_hub::Cache::from_env().model(id.into()).get(file.unwrap_or("config.json"))?;
    if file.is_some() { Some(found) } else { found.parent().map(Path::to_path_buf) }
}

#[cfg(not(feature = "hub"))]
fn cached(_: &str) -> Option<PathBuf> {
    None
}
