use std::sync::LazyLock;

/// What a rule of cutting distinguishes about characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// A letter that has no part in contractions.
    Letter,
    /// The letters s, t, m and d, which end a contraction after an apostrophe.
    Ending,
    /// The letters r and v, which an e follows in a contraction.
    BeforeE,
    /// The letter e.
    E,
    /// The letter l.
    L,
    Number,
    Space,
    /// A line feed or a carriage return.
    Newline,
    /// Other white space.
    White,
    Apostrophe,
    /// Any other character.
    Other,
}

/// The number of classes.
pub(super) const CLASSES: usize = Class::Other as usize + 1;

pub(super) const ALL_CLASSES: [Class; CLASSES] = [
    Class::Letter,
    Class::Ending,
    Class::BeforeE,
    Class::E,
    Class::L,
    Class::Number,
    Class::Space,
    Class::Newline,
    Class::White,
    Class::Apostrophe,
    Class::Other,
];

/// Which characters are letters, numbers and white space.
///
/// Numbers and white space are those of the standard library, which are `\p{N}` and `\s` of regular expressions. Letters,
/// `\p{L}`, are not: they have to be listed.
///
/// ```
/// use eft_core::canonical::Characters;
///
/// let characters = Characters::new(['a'..='z', 'A'..='Z']);
/// # let _ = characters;
/// ```
#[derive(Debug, Clone)]
pub struct Characters {
    /// The first code points of stretches of characters of one class, in order. They hold the classes of characters
    /// other than those of [`class`](Self::class)'s special cases.
    stretches: Vec<(u32, Class)>,
}

impl Characters {
    /// Creates the classes from the letters.
    pub fn new(letters: impl IntoIterator<Item = std::ops::RangeInclusive<char>>) -> Self {
        let letters = letters.into_iter().filter(|range| !range.is_empty());
        let mut letters: Vec<_> =
            letters.map(|range| (u32::from(*range.start()), u32::from(*range.end()))).collect();
        letters.sort_unstable();
        let mut stretches = Stretches::default();
        // The first code point after the letters so far.
        let mut next = 0;
        for (start, end) in letters {
            stretches.add_others(next, start);
            stretches.add(start, Class::Letter);
            next = next.max(end + 1);
        }
        stretches.add_others(next, u32::from(char::MAX) + 1);
        Self { stretches: stretches.0 }
    }

    fn stretch(&self, code: u32) -> usize {
        self.stretches.partition_point(|(start, _)| *start <= code) - 1
    }

    /// The class of a character outside of ASCII.
    pub(super) fn class(&self, code: u32) -> Class {
        self.stretches[self.stretch(code)].1
    }

    /// The classes of the characters from `first` to `last`, as a set of bits.
    pub(super) fn classes(&self, first: u32, last: u32) -> u32 {
        let from = self.stretch(first);
        let within = self.stretches[from..].iter().take_while(|(start, _)| *start <= last);
        within.fold(0, |set, (_, class)| set | 1 << *class as u32)
    }
}

/// The stretches of all characters in classes of non-letters, as if there were no letters. Finding them takes
/// milliseconds, since the standard library is asked about every code point.
static NO_LETTERS: LazyLock<Vec<(u32, Class)>> = LazyLock::new(|| {
    let mut stretches = Stretches::default();
    for code in 0..=u32::from(char::MAX) {
        let class = match char::from_u32(code) {
            Some(c) if c.is_numeric() => Class::Number,
            Some(c) if c.is_whitespace() => Class::White,
            _ => Class::Other,
        };
        stretches.add(code, class);
    }
    stretches.0
});

/// Stretches of characters of one class while they are being listed.
#[derive(Default)]
struct Stretches(Vec<(u32, Class)>);

impl Stretches {
    /// Adds that characters from `code` on are of a class.
    fn add(&mut self, code: u32, class: Class) {
        if self.0.last().is_none_or(|(_, last)| *last != class) {
            self.0.push((code, class));
        }
    }

    /// Adds the classes of the characters from `start` up to but excluding `end`, none of which is a letter.
    fn add_others(&mut self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        let first = NO_LETTERS.partition_point(|(code, _)| *code <= start) - 1;
        for (code, class) in NO_LETTERS[first..].iter().take_while(|(code, _)| *code < end) {
            self.add(*code.max(&start), *class);
        }
    }
}

impl Default for Characters {
    /// Only the letters of ASCII.
    fn default() -> Self {
        Self::new(['a'..='z', 'A'..='Z'])
    }
}
