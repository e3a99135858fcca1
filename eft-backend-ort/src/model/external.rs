//! [`external_data`]: the files beside a graph that hold its weights.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::{Error, Result};

/// Returns the names of the files that hold a graph's weights, relative to the graph's folder; none if the graph holds
/// all weights itself.
///
/// A file that is damaged or not an ONNX model is not an error here: the names found before the damage are returned.
///
/// # Errors
/// * [`Error::Io`] if the file cannot be read.
///
/// ```no_run
/// let files = eft_backend_ort::model::external_data("SmolLM2-135M-ONNX/onnx/model.onnx".as_ref())?;
/// assert_eq!(files, ["model.onnx_data"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn external_data(graph: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { file: graph.into(), source };
    let file = BufReader::new(File::open(graph).map_err(io)?);
    let mut reader = Reader { file, found: BTreeSet::new() };
    let length = std::fs::metadata(graph).map_err(io)?.len();
    match reader.message(Message::Model, length, MAX_DEPTH) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(io(error)),
        _ => Ok(reader.found.into_iter().collect()),
    }
}

/// The messages of `onnx.proto` through which the file names of weights are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Entry,
}

impl Message {
    /// The message in a field, if file names can be reached through it.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

/// The deepest nesting of messages that is followed. Graphs are in attributes of nodes of graphs, a few levels at most.
const MAX_DEPTH: usize = 100;

/// The longest key or value that is read, in bytes. Those of file names are short.
const MAX_LENGTH: u64 = 4096;

struct Reader {
    file: BufReader<File>,
    found: BTreeSet<String>,
}

impl Reader {
    /// Reads a message of `length` bytes and the messages within it, `depth` levels at most. Other fields are skipped.
    fn message(&mut self, message: Message, length: u64, depth: usize) -> io::Result<()> {
        let mut left = length;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        while left > 0 {
            let tag = self.number(&mut left)?;
            let size = match tag & 7 {
                0 => {
                    self.number(&mut left)?;
                    continue;
                }
                1 => 8,
                2 => self.number(&mut left)?,
                5 => 4,
                _ => return Err(invalid()),
            };
            left = left.checked_sub(size).ok_or_else(invalid)?;
            match (message, tag >> 3) {
                (Message::Entry, 1) => key = self.bytes(size)?,
                (Message::Entry, 2) => value = self.bytes(size)?,
                (_, number) => match message.field(number).filter(|_| tag & 7 == 2) {
                    Some(inner) => {
                        let depth = depth.checked_sub(1).ok_or_else(invalid)?;
                        self.message(inner, size, depth)?;
                    }
                    None => self.file.seek_relative(i64::try_from(size).map_err(|_| invalid())?)?,
                },
            }
        }
        if message == Message::Entry && key == b"location" {
            self.found.insert(String::from_utf8(value).map_err(|_| invalid())?);
        }
        Ok(())
    }

    fn bytes(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if size > MAX_LENGTH || self.file.by_ref().take(size).read_to_end(&mut bytes)? as u64 != size {
            return Err(invalid());
        }
        Ok(bytes)
    }

    /// Reads a varint: seven bits a byte, lowest first.
    fn number(&mut self, left: &mut u64) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            *left = left.checked_sub(1).ok_or_else(invalid)?;
            let mut byte = [0];
            // A file that ends within a message is damaged, which is not the same as unreadable.
            self.file.read_exact(&mut byte).map_err(|_| invalid())?;
            number |= u64::from(byte[0] & 127) << shift;
            if byte[0] < 128 {
                return Ok(number);
            }
        }
        Err(invalid())
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
