//! [`Value`]: a value of the metadata of a file.
//!
//! Lists are kept as the file holds them, and decoded when they are read: they take no more memory than in the file,
//! however many entries they have.

use super::texts::Texts;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// An integer of any type.
    Integer(i128),
    /// A number of 32 or 64 bits.
    Float(f64),
    Flag(bool),
    Text(String),
    List(List),
}

/// A list of values of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum List {
    Texts(Texts),
    Scalars(Scalars),
}

impl List {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Scalars(scalars) => scalars.bytes.len() / scalars.kind.bytes(),
        }
    }

    /// The entries, if they are texts; also of an empty list of another type.
    pub(super) fn into_texts(self) -> Option<Texts> {
        match self {
            Self::Texts(texts) => Some(texts),
            Self::Scalars(scalars) => scalars.bytes.is_empty().then(Texts::default),
        }
    }

    /// The entries, if they are no texts; also of an empty list of texts.
    pub(super) fn scalars(&self) -> Option<impl Iterator<Item = Value>> {
        let (kind, bytes) = match self {
            Self::Scalars(Scalars { kind, bytes }) => (*kind, &bytes[..]),
            Self::Texts(texts) if texts.is_empty() => (Kind::U8, &[][..]),
            Self::Texts(_) => return None,
        };
        Some(bytes.chunks_exact(kind.bytes()).map(move |bytes| kind.value(bytes)))
    }
}

/// Numbers or flags, as the bytes of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalars {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// The types of values that have a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Flag,
    U64,
    I64,
    F64,
}

impl Kind {
    /// The type for its number in files.
    pub(super) fn new(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Flag,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// The size of a value in bytes.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Flag => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The value of [as many bytes](Self::bytes), in little-endian order.
    pub(super) fn value(self, bytes: &[u8]) -> Value {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        Value::Integer(match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => bits.into(),
            Self::I8 => (bits as i8).into(),
            Self::I16 => (bits as i16).into(),
            Self::I32 => (bits as i32).into(),
            Self::I64 => (bits as i64).into(),
            Self::F32 => return Value::Float(f32::from_bits(bits as u32).into()),
            Self::F64 => return Value::Float(f64::from_bits(bits)),
            Self::Flag => return Value::Flag(bits != 0),
        })
    }
}

// Run by `tests/all/gguf/mod.rs`, which compiles this file again: compiling the whole library for them takes a minute.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_their_bytes() {
        let value = |kind: Kind, bytes: &[u8]| {
            assert_eq!(kind.bytes(), bytes.len());
            kind.value(bytes)
        };
        assert_eq!(value(Kind::U8, &[0xFF]), Value::Integer(255));
        assert_eq!(value(Kind::I8, &[0xFF]), Value::Integer(-1));
        assert_eq!(value(Kind::I16, &(-2i16).to_le_bytes()), Value::Integer(-2));
        assert_eq!(value(Kind::I32, &i32::MIN.to_le_bytes()), Value::Integer(i32::MIN.into()));
        assert_eq!(value(Kind::U64, &u64::MAX.to_le_bytes()), Value::Integer(u64::MAX.into()));
        assert_eq!(value(Kind::I64, &i64::MIN.to_le_bytes()), Value::Integer(i64::MIN.into()));
        assert_eq!(value(Kind::F32, &0.5f32.to_le_bytes()), Value::Float(0.5));
        assert_eq!(value(Kind::F64, &(-0.25f64).to_le_bytes()), Value::Float(-0.25));
        assert_eq!(value(Kind::Flag, &[1]), Value::Flag(true));
        let numbers = (0..13).filter(|number| Kind::new(*number).is_none());
        assert_eq!(numbers.collect::<Vec<_>>(), [8, 9], "strings and lists");
    }

    #[test]
    fn entries_of_lists_are_decoded_when_they_are_read() {
        let texts: Texts = ["a", "", "日本"].into_iter().collect();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "", "日本"]);
        assert_eq!([0, 1, 2, 3].map(|i| texts.get(i)), [Some("a"), Some(""), Some("日本"), None]);
        let mut fewer = texts.clone();
        fewer.truncate(1);
        assert_eq!(fewer, ["a"].into_iter().collect());
        let list = List::Texts(texts.clone());
        assert!(list.len() == 3 && list.scalars().is_none() && list.into_texts() == Some(texts));
        let list = List::Scalars(Scalars { kind: Kind::I16, bytes: vec![1, 0, 0xFF, 0xFF] });
        let values: Vec<_> = list.scalars().unwrap().collect();
        assert!(values == [1, -1].map(Value::Integer) && list.len() == 2 && list.into_texts().is_none());
        // An empty list may have any type.
        let empty = List::Scalars(Scalars { kind: Kind::F32, bytes: Vec::new() });
        assert!(empty.into_texts().unwrap().is_empty());
        assert_eq!(List::Texts(Texts::default()).scalars().unwrap().count(), 0);
    }
}
