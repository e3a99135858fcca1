//! The replacements of characters that SentencePiece compiles into a model.
//!
//! They are a number, a trie of that number of bytes, and texts that each end with a zero byte. The library `tokenizers`
//! trusts them, so they are checked before.
use std::collections::HashSet;

use eft_backend_candle::gguf::TokenizerFields;
use eft_models::Result;
use tokenizers::normalizers::Precompiled;

const FIELD: &str = "tokenizer.ggml.precompiled_charsmap";

/// The replacements of a file; `None` if it has none.
pub(super) fn read(fields: &TokenizerFields) -> Result<Option<Precompiled>> {
    if fields.replacements.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| fields.wrong(FIELD, reason);
    check(&fields.replacements).map_err(wrong)?;
    let precompiled = Precompiled::from(&fields.replacements);
    precompiled.map(Some).map_err(|_| wrong("cannot be read"))
}

/// Checks that every path through the trie stays within it, and ends at the beginning of a text.
fn check(bytes: &[u8]) -> std::result::Result<(), &'static str> {
    const SHORT: &str = "is shorter than it says";
    let (size, rest) = bytes.split_first_chunk().ok_or(SHORT)?;
    let (trie, texts) = rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or(SHORT)?;
    let texts = std::str::from_utf8(texts).map_err(|_| "holds a text that is not UTF-8")?;
    let nodes: Vec<_> = trie.as_chunks().0.iter().map(|node| Node(u32::from_le_bytes(*node))).collect();
    let node = |at: usize| nodes.get(at).copied().ok_or("refers to a place outside of its trie");
    let root = node(0)?.base();
    let (mut open, mut seen) = (vec![root], HashSet::from([root]));
    while let Some(base) = open.pop() {
        for byte in 1..=u8::MAX {
            let at = base ^ usize::from(byte);
            let child = node(at)?;
            if !child.is_after(byte) {
                continue;
            }
            let base = at ^ child.base();
            if child.ends() {
                let text =
                    texts.get(node(base)?.value()..).ok_or("refers to a place outside of its texts")?;
                if !text.contains('\0') {
                    return Err("holds a text without an end");
                }
            }
            if seen.insert(base) {
                open.push(base);
            }
        }
    }
    Ok(())
}

/// A node of the trie, which is a double array: the byte that leads to it, and from where its children are found.
#[derive(Clone, Copy)]
struct Node(u32);

impl Node {
    /// What is combined with the node's place, and then with a byte, to the place of a child.
    fn base(self) -> usize {
        ((self.0 >> 10) << ((self.0 & (1 << 9)) >> 6)) as usize
    }

    fn is_after(self, byte: u8) -> bool {
        self.0 & (1 << 31 | 0xFF) == u32::from(byte)
    }

    /// Whether a replaced text ends here.
    fn ends(self) -> bool {
        self.0 & (1 << 8) != 0
    }

    /// Of a node after the end of a replaced text: where its replacement begins.
    fn value(self) -> usize {
        (self.0 & !(1 << 31)) as usize
    }
}
