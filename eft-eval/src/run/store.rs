//! The file of a run: it is read, cut to its complete batches, appended to, and put into order.
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::header::{Header, HeaderLine};
use super::result::{ItemResult, Output, Results, parse};
use crate::task::Items;
use crate::{Error, Result};

/// The results that there are so far, in memory and in a file.
pub(super) struct Store<'a> {
    header: Header,
    items: &'a Items,
    /// For each item, its result and the line that holds it.
    done: Vec<Option<(ItemResult, String)>>,
    file: Option<Opened>,
}

/// A file that this process alone writes.
struct Opened {
    path: PathBuf,
    file: File,
    /// All results are there, in the order of the items.
    finished: bool,
}

/// A line of the file, with the index of its item and the position just after it.
struct Stored {
    index: usize,
    result: ItemResult,
    line: String,
    end: usize,
}

impl<'a> Store<'a> {
    /// Opens the file, if there is to be one, and takes the results of all batches that are complete.
    pub(super) fn open(
        path: Option<&Path>,
        header: Header,
        items: &'a Items,
        batches: &[Vec<usize>],
    ) -> Result<Self> {
        let mut store = Self { header, items, done: items.iter().map(|_| None).collect(), file: None };
        let Some(path) = path else { return Ok(store) };
        let mut file = locked(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::read(path))?;
        let header = header_line(&store.header)?;
        let (lines, mut length) = match bytes.iter().position(|byte| *byte == b'\n') {
            // Killed before the header was complete.
            None if header.as_bytes().starts_with(&bytes) => {
                overwrite(&mut file, &header).map_err(Error::write(path))?;
                (Vec::new(), header.len())
            }
            None => return Err(not_results(path)),
            Some(end) => {
                store.check_header(path, &bytes[..end])?;
                (store.stored(path, &bytes, end + 1)?, end + 1)
            }
        };
        let finished =
            lines.len() == items.len() && lines.iter().enumerate().all(|(i, line)| line.index == i);
        let order = batches.iter().flatten();
        let in_order = lines.iter().zip(order).take_while(|(line, index)| line.index == **index).count();
        let mut kept = if finished { lines.len() } else { 0 };
        for batch in batches.iter().take_while(|_| !finished) {
            if kept + batch.len() > in_order {
                break;
            }
            kept += batch.len();
        }
        for Stored { index, result, line, end } in lines.into_iter().take(kept) {
            store.done[index] = Some((result, line));
            length = end;
        }
        if !finished {
            file.set_len(length as u64).map_err(Error::write(path))?;
            file.seek(SeekFrom::End(0)).map_err(Error::write(path))?;
        }
        store.file = Some(Opened { path: path.into(), file, finished });
        Ok(store)
    }

    fn check_header(&self, path: &Path, line: &[u8]) -> Result<()> {
        let found: HeaderLine = serde_json::from_slice(line).map_err(|_| not_results(path))?;
        // The present header as it will be read: numbers change their types on the way.
        let now: HeaderLine = parse(path, 0, header_line(&self.header)?.trim_end())?;
        let differences = found.header.differences(&now.header);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Error::OtherRun { path: path.into(), differences }),
        }
    }

    /// The complete lines from a position on. What follows the last line end was being written when the run was killed.
    fn stored(&self, path: &Path, bytes: &[u8], from: usize) -> Result<Vec<Stored>> {
        let index_of: HashMap<_, _> =
            self.items.iter().enumerate().map(|(i, item)| (&item.id[..], i)).collect();
        let (mut lines, mut start) = (Vec::new(), from);
        let mut seen = vec![false; self.items.len()];
        while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
            let number = lines.len() + 1;
            let wrong = |reason: String| Error::Line {
                origin: format!("{}, line {}", path.display(), number + 1),
                reason,
            };
            let line = std::str::from_utf8(&bytes[start..start + length])
                .map_err(|error| wrong(error.to_string()))?;
            let result: ItemResult = parse(path, number, line)?;
            let index = index_of.get(&result.item[..]).copied();
            let index = index.ok_or_else(|| wrong(format!("the task has no item `{}`", result.item)))?;
            if std::mem::replace(&mut seen[index], true) {
                return Err(wrong(format!(
                    "the item `{}` has a result on an earlier line, too",
                    result.item
                )));
            }
            start += length + 1;
            lines.push(Stored { index, result, line: line.into(), end: start });
        }
        Ok(lines)
    }

    /// Whether the file has all results, in order.
    pub(super) fn is_finished(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.finished)
    }

    /// Whether the results of a batch are there.
    pub(super) fn has(&self, batch: &[usize]) -> bool {
        batch.iter().all(|index| self.done[*index].is_some())
    }

    /// Adds the results of a batch.
    pub(super) fn append(&mut self, batch: &[usize], outputs: Vec<Output>) -> Result<()> {
        let mut written = String::new();
        for (index, output) in batch.iter().zip(outputs) {
            let item = &self.items[*index];
            let result = ItemResult { item: item.id.clone(), output, fields: item.fields.clone() };
            let line = json(&result)?;
            written.extend([&line[..], "\n"]);
            self.done[*index] = Some((result, line));
        }
        match &mut self.file {
            None => Ok(()),
            Some(Opened { path, file, .. }) => {
                file.write_all(written.as_bytes()).map_err(Error::write(&*path))
            }
        }
    }

    /// Puts the file into the order of the items. Returns the results.
    pub(super) fn finish(self) -> Result<Results> {
        let (results, lines): (Vec<_>, Vec<_>) = self.done.into_iter().flatten().unzip();
        if let Some(Opened { path, finished: false, file: _lock }) = self.file {
            let mut whole = header_line(&self.header)?;
            lines.iter().for_each(|line| whole.extend([line, "\n"]));
            // Another file takes the place of this one in one step, so that no moment has a part of the results.
            let mut beside = path.clone().into_os_string();
            beside.push(".tmp");
            std::fs::write(&beside, whole).map_err(Error::write(&beside))?;
            std::fs::rename(&beside, &path).map_err(Error::write(&path))?;
        }
        Ok(Results { header: self.header, items: results })
    }
}

/// Opens a file for this process alone.
fn locked(path: &Path) -> Result<File> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let file = options.open(path).map_err(Error::write(path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.into() }),
        // A file system without locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(Error::write(path)(error)),
        Ok(()) => Ok(file),
    }
}

fn overwrite(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

fn header_line(header: &Header) -> Result<String> {
    Ok(json(&HeaderLine { header: header.clone() })? + "\n")
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    let failed = |error: serde_json::Error| Error::Line {
        origin: "a line of results".into(),
        reason: error.to_string(),
    };
    serde_json::to_string(value).map_err(failed)
}

fn not_results(path: &Path) -> Error {
    Error::Line { origin: path.display().to_string(), reason: "it is not a file of results".into() }
}
