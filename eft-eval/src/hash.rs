//! Hashes of contents, by which a run can tell that its models and its task are the same as before.
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Returns the SHA-256 of a file, or of all files of a folder, in hexadecimal.
///
/// For a file it is what the program `sha256sum` prints. For a folder it is the SHA-256 of a list of its files and
/// those of its subfolders, in the order of their paths: a line for each, with the hash, two spaces and the relative
/// path with `/`.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// std::fs::write(folder.path().join("a"), "abc").unwrap();
/// let file = eft_eval::content_hash(folder.path().join("a"))?;
/// assert!(file.starts_with("ba7816bf"));
/// assert_ne!(eft_eval::content_hash(folder.path())?, file);
/// # Ok::<(), eft_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] if something cannot be read.
pub fn content_hash(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    if !path.is_dir() {
        return hash_file(path);
    }
    let mut files = Vec::new();
    list(path, "", &mut files)?;
    files.sort();
    let mut lines = String::new();
    for file in files {
        let _ = writeln!(lines, "{}  {file}", hash_file(&path.join(&file))?);
    }
    Ok(hash_bytes(lines.as_bytes()))
}

/// Adds the relative paths of all files in a folder to a list.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match path.is_dir() {
            true => list(&path, &format!("{prefix}{name}/"), files)?,
            false => files.push(format!("{prefix}{name}")),
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> Result<String> {
    let hash = || -> io::Result<_> {
        let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(&hasher.finalize())),
                read => hasher.update(&buffer[..read]),
            }
        }
    };
    hash().map_err(Error::read(path))
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The number that the random numbers of an item are made from: the first eight bytes of the SHA-256 of its id.
pub(crate) fn seed_of(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
