//! Models that are split into several files.
//!
//! Each file is whole by itself, with a header and some of the tensors. The first has the metadata. The names differ
//! only in the number of the part, as in `model-00002-of-00003.gguf`.
use std::path::{Path, PathBuf};

use eft_models::Result;

use super::header;
use super::metadata::Metadata;
use super::tensors::Tensors;

/// Splits the name of a part into the name of the model, the number of the part, counted from 1, and how many there are.
fn numbered(file: &Path) -> Option<(&str, usize, usize)> {
    let (rest, count) = file.file_name()?.to_str()?.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (model, number) = rest.rsplit_once('-')?;
    let parse = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 5);
    let (number, count) = (parse(number)?, parse(count)?);
    (1..=count).contains(&number).then_some((model, number, count))
}

/// Returns the paths of all parts of a model of which `file` is one, in order; only `file` itself if its name has no
/// number of a part.
///
/// ```
/// use std::path::Path;
/// use eft_backend_candle::gguf::parts;
///
/// let all = parts(Path::new("models/large-00002-of-00002.gguf"));
/// assert_eq!(all, [Path::new("models/large-00001-of-00002.gguf"), Path::new("models/large-00002-of-00002.gguf")]);
/// assert_eq!(parts(Path::new("small.gguf")), [Path::new("small.gguf")]);
/// ```
pub fn parts(file: &Path) -> Vec<PathBuf> {
    let Some((model, _, count)) = numbered(file) else { return vec![file.into()] };
    (1..=count).map(|number| file.with_file_name(format!("{model}-{number:05}-of-{count:05}.gguf"))).collect()
}

/// Returns the name of the model in a file: that of the file, without `.gguf` and without the number of a part.
///
/// ```
/// use std::path::Path;
/// use eft_backend_candle::gguf::model_name;
///
/// assert_eq!(model_name(Path::new("models/large-00001-of-00002.gguf")), "large");
/// assert_eq!(model_name(Path::new("small.gguf")), "small");
/// ```
pub fn model_name(file: &Path) -> String {
    let stem = || file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    numbered(file).map_or_else(stem, |(model, ..)| model.to_owned())
}

/// Reads a file, or all parts of the model of which it is one.
pub(super) fn read(path: &Path, mapped: bool) -> Result<(Metadata, Tensors)> {
    let (fields, tensors) = header::read(path, mapped)?;
    let metadata = Metadata::new(path, fields);
    let count = metadata.whole(COUNT)?.unwrap_or(1);
    if count <= 1 {
        return Ok((metadata, tensors));
    }
    let paths = parts(path);
    if paths.len() as u64 != count {
        let reason = format!(
            "is {count}, but the file's name does not end in the number of a part, as in `-00001-of-{count:05}.gguf`, \
             so the other parts cannot be found"
        );
        return Err(metadata.wrong(COUNT, reason));
    }
    if let Some(missing) = paths.iter().find(|part| !part.exists()) {
        let reason = format!("is {count}, but the part {} is missing", missing.display());
        return Err(metadata.wrong(COUNT, reason));
    }
    let mut all: Option<(Metadata, Tensors)> = None;
    for (number, part) in (0..).zip(&paths) {
        let (fields, tensors) = header::read(part, mapped)?;
        let own = Metadata::new(part, fields);
        for (field, expected) in [(COUNT, count), (NUMBER, number)] {
            let found = own.whole(field)?;
            if found != Some(expected) {
                let found = found.map_or_else(|| "missing".into(), |found| found.to_string());
                return Err(own.wrong(field, format!("is {found}; expected {expected}, by the file's name")));
            }
        }
        match &mut all {
            None => all = Some((own, tensors)),
            Some((_, joined)) => joined.join(tensors)?,
        }
    }
    let Some((metadata, tensors)) = all else { return Err(metadata.wrong(COUNT, "is 0")) };
    let (found, expected) = (tensors.count() as u64, metadata.whole(TENSORS)?);
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let reason = format!("is {expected}, but the {count} parts have {found} tensors");
        return Err(metadata.wrong(TENSORS, reason));
    }
    Ok((metadata, tensors))
}

/// The fields that describe the parts: how many there are, which one a file is, and how many tensors they have together.
const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";
