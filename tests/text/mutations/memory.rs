//! How much memory it takes to read a broken file, and to keep a vocabulary.
use std::path::Path;

/// The number of bytes that may be allocated at once beside as many as the files have.
const ALLOWANCE: u64 = 1 << 20;

/// The size of a file, or of all files in a folder.
fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |file| file.len());
    };
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Runs `read`, which reads these files, and checks that it does not allocate much more memory than they have bytes.
pub(super) fn bounded<T>(files: &Path, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let most = allocation_counter::measure(|| result = Some(read())).bytes_max;
    let size = size(files);
    assert!(most <= size + ALLOWANCE, "{most} bytes of memory for {size} bytes of files");
    result.unwrap()
}

/// Checks that `read` of these files is an error with all of these words, is short, and takes little memory.
#[track_caller]
pub(super) fn refused(files: &Path, what: &str, words: &[&str], read: impl FnOnce() -> Result<(), String>) {
    let error = bounded(files, read).expect_err(what);
    for word in words {
        assert!(error.contains(word), "{what}: `{word}` is not in: {error}");
    }
    assert!(error.len() < 2000, "{what}: {error}");
}

#[test]
fn memory_is_measured() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(bounded(file.path(), || vec![1u8; 1000].len()), 1000);
    let much = std::panic::catch_unwind(|| bounded(file.path(), || vec![1u8; 2 << 20].len()));
    assert!(much.is_err(), "two mebibytes for an empty file");
}

/// A vector for each token would take more than twice as much, and most of it for the addresses of a few bytes.
#[test]
fn vocabularies_take_little_more_memory_than_their_bytes() {
    let tokens: Vec<_> = (0..20_000).map(|id| format!("{id:05}")).collect();
    let mut vocab = None;
    let used = allocation_counter::measure(|| {
        vocab = Some(eft::Vocab::new("digits", tokens.iter().map(String::as_str)).unwrap());
    });
    assert_eq!(vocab.unwrap().bytes(19_999), Some(&b"19999"[..]));
    assert!(used.bytes_current < 10 * tokens.len() as i64, "{used:?}");
}
