//! [`TokenKind`]: the kind of a token.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Stands for text without a token.
    Unknown,
    /// A special token, for example the end of a turn: it has no text.
    Control,
    /// Text that is matched before any merge applies.
    UserDefined,
    /// An id without a token.
    Unused,
    /// One byte, spelled as in `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind for its number in files. Unknown numbers are taken for ordinary text.
    pub(super) fn new(number: u64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}
