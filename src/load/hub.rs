//! The Hugging Face hub.
use super::place::Place;
use super::{Error, Loader, Result};

pub(super) fn id(_name: &str) -> Option<(&str, Option<&str>)> {
    None
}

pub(super) fn fetch(loader: &Loader, id: &str, file: Option<&str>) -> Result<Place> {
    Err(Error::Hub { id: id.into(), file: file.unwrap_or_default().into(), reason: loader.name.clone() })
}
