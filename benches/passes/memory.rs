//! The memory that a model takes, and how fast memory can be read.
#![allow(dead_code, reason = "each benchmark uses a part")]
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::theirs::threads;

/// The files that hold the weights of a GGUF file or of a folder.
pub(crate) fn files(model: &Path) -> Vec<PathBuf> {
    if !model.is_dir() {
        return vec![model.into()];
    }
    let files = std::fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension() == Some(OsStr::new("safetensors"))).collect()
}

/// The bytes of these files.
pub(crate) fn size(model: &Path) -> u64 {
    files(model).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum()
}

/// The largest resident size of this process so far, in bytes; `None` where there is no /proc.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// Reads all bytes, on all threads.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let part = bytes.len().div_ceil(4 * threads()).next_multiple_of(64);
    let sum = |bytes: &[u8]| {
        let words = bytes.as_chunks::<64>().0.iter();
        let sums = words.fold([0u64; 8], |mut sums, line| {
            for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
            sums
        });
        sums.into_iter().fold(0, u64::wrapping_add)
    };
    bytes.par_chunks(part).map(sum).reduce(|| 0, u64::wrapping_add)
}
