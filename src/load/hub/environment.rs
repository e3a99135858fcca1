//! The environment variables that all of the hub's libraries read.
use std::path::PathBuf;

/// The folder of the cache that all of the hub's libraries share; `None` if no home directory is known.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let path = |name| variable(name).map(PathBuf::from);
    let home = || Some(std::env::home_dir()?.join(".cache"));
    path("HF_HUB_CACHE").or_else(|| {
        let below = |base: PathBuf| base.join("huggingface");
        let home = path("HF_HOME").or_else(|| path("XDG_CACHE_HOME").or_else(home).map(below));
        home.map(|home| home.join("hub"))
    })
}

/// The variable's value, unless it is empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}
