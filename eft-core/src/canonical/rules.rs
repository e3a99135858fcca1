use super::characters::{Characters, Class};

/// How a tokenizer cuts a text into pieces: the regular expression of its pre-tokenizer, as settings.
///
/// The expressions that are covered differ in few things. [`gpt2`](Self::gpt2) is
///
/// ```text
/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// ```
///
/// and [`cl100k`](Self::cl100k), of GPT-4, Llama 3 and Qwen, is
///
/// ```text
/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
/// ```
///
/// ```
/// use eft_core::canonical::{Characters, Numbers, PieceRules};
///
/// let qwen = PieceRules::cl100k(Characters::default()).numbers(Numbers::UpTo(1));
/// let smollm = PieceRules::gpt2(Characters::default()).numbers(Numbers::Alone);
/// # let _ = (qwen, smollm);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct PieceRules {
    pub(super) characters: Characters,
    pub(super) style: Style,
    pub(super) contractions: Contractions,
    pub(super) numbers: Numbers,
}

/// The family of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The whole text is one piece.
    Whole,
    /// Words with the space before them.
    Gpt2,
    /// Words with any one character before them, and pieces that end with newlines.
    Cl100k,
}

/// Which contractions, such as `'re`, are pieces of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contractions {
    /// None.
    None,
    /// Those in lower case.
    Lower,
    /// Those in lower and upper case.
    AnyCase,
}

/// How numbers are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Numbers {
    /// A number is a piece, with the space before it.
    Run,
    /// At most this many digits make a piece, from the left, without the space before them. At most 3.
    UpTo(u8),
    /// Each digit is cut out of the text before anything else is cut.
    Alone,
}

impl PieceRules {
    /// The whole text is one piece.
    pub fn whole() -> Self {
        Self {
            characters: Characters::default(),
            style: Style::Whole,
            contractions: Contractions::None,
            numbers: Numbers::Run,
        }
    }

    /// The expression of GPT-2.
    pub fn gpt2(characters: Characters) -> Self {
        Self { characters, style: Style::Gpt2, contractions: Contractions::Lower, numbers: Numbers::Run }
    }

    /// The expression of GPT-4 and Llama 3.
    pub fn cl100k(characters: Characters) -> Self {
        let (contractions, numbers) = (Contractions::AnyCase, Numbers::UpTo(3));
        Self { characters, style: Style::Cl100k, contractions, numbers }
    }

    /// Sets which contractions are pieces of their own.
    pub fn contractions(self, contractions: Contractions) -> Self {
        Self { contractions, ..self }
    }

    /// Sets how numbers are cut.
    pub fn numbers(self, numbers: Numbers) -> Self {
        Self { numbers, ..self }
    }

    /// The class of a character.
    pub(super) fn class(&self, code: u32) -> Class {
        if self.style == Style::Whole {
            return Class::Letter;
        }
        match char::from_u32(code) {
            Some(' ') => Class::Space,
            Some('\r' | '\n') => Class::Newline,
            Some('\'') if self.contractions != Contractions::None => Class::Apostrophe,
            Some(c) if self.in_contractions(c) => match c.to_ascii_lowercase() {
                'r' | 'v' => Class::BeforeE,
                'e' => Class::E,
                'l' => Class::L,
                _ => Class::Ending,
            },
            _ => self.characters.class(code),
        }
    }

    /// Whether a character is a letter of some contraction. In any case, `ſ` counts as an s.
    fn in_contractions(&self, c: char) -> bool {
        match self.contractions {
            Contractions::None => false,
            Contractions::Lower => "stmdrvel".contains(c),
            Contractions::AnyCase => "stmdrvelSTMDRVELſ".contains(c),
        }
    }

    /// The classes of the characters from `first` to `last`, all outside of ASCII, as a set of bits.
    pub(super) fn classes(&self, first: u32, last: u32) -> u32 {
        let ending = self.contractions == Contractions::AnyCase && (first..=last).contains(&u32::from('ſ'));
        match self.style {
            Style::Whole => 1 << Class::Letter as u32,
            _ => self.characters.classes(first, last) | u32::from(ending) << Class::Ending as u32,
        }
    }
}
