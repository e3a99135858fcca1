//! [`Spelling`]: how tokenizer files represent the bytes of a token as text.
//!
//! ```
//! use eft_models::Spelling;
//!
//! assert_eq!(Spelling::ByteLevel.bytes("Ġhello"), b" hello");
//! assert_eq!(Spelling::Pieces.bytes("▁hello"), b" hello");
//! assert_eq!(Spelling::Words.bytes("##ing"), b"ing");
//! ```
use std::sync::LazyLock;

/// How the tokens of a vocabulary are represented as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As UTF-8 text, unchanged.
    Plain,
    /// One character for each byte, by the table of GPT-2's byte-level BPE.
    ByteLevel,
    /// As UTF-8 text with spaces written as `▁`, as in SentencePiece.
    Pieces,
    /// As UTF-8 text without the space before a word; the parts of a word after its first begin with `##`, as in WordPiece.
    Words,
}

impl Spelling {
    /// Returns the bytes that a token stands for. A byte-level token with a character outside the table, such as an
    /// added token, stands for its own text.
    pub fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            Self::Plain => token.as_bytes().to_vec(),
            Self::Pieces => token.replace('▁', " ").into_bytes(),
            Self::Words => match token.strip_prefix("##") {
                Some(part) => part.into(),
                None => format!(" {token}").into_bytes(),
            },
            Self::ByteLevel => {
                let byte = |c: char| TABLE.get(c as usize).copied().flatten();
                token.chars().map(byte).collect::<Option<_>>().unwrap_or_else(|| token.as_bytes().to_vec())
            }
        }
    }

    /// Returns the byte that a byte-fallback token stands for, such as 10 for `<0x0A>`; `None` for any other token.
    pub fn named_byte(token: &str) -> Option<u8> {
        let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
        let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hexadecimal.then(|| u8::from_str_radix(digits, 16).ok())?
    }
}

/// The byte of each character in GPT-2's table, indexed by the character: printable characters stand for their own
/// byte, and the characters from U+0100 on for the other bytes, in ascending order.
static TABLE: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
    let mut bytes = [None; 0x144];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let character = if printable { usize::from(byte) } else { next };
        bytes[character] = Some(byte);
        next += usize::from(!printable);
    }
    bytes
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_gpt2() {
        let bytes = |token| Spelling::ByteLevel.bytes(token);
        assert_eq!(bytes("ĠhelloĊ"), b" hello\n");
        assert_eq!(bytes("Ã©"), "é".as_bytes());
        assert_eq!(bytes("ŃĀ"), [0xAD, 0]);
        assert_eq!(bytes("語"), "語".as_bytes());
        assert_eq!(TABLE.iter().flatten().count(), 256);
    }

    #[test]
    fn parts_of_words_have_no_space() {
        assert_eq!(
            ["hello", "##ing", "##", "é"].map(|token| Spelling::Words.bytes(token)),
            [b" hello".to_vec(), b"ing".to_vec(), Vec::new(), " é".into()]
        );
    }

    #[test]
    fn bytes_are_read_by_their_number() {
        let named = ["<0x0A>", "<0xFF>", "<0x100>", "<0x+1>", "x"].map(Spelling::named_byte);
        assert_eq!(named, [Some(10), Some(255), None, None, None]);
    }
}
