//! The tokens of an expression.
use super::strings::{decoded, quoted, string_length};

/// Words that end an operand on their right or left.
const KEYWORDS: [&str; 20] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "do",
    "with",
    "recursive",
    "print",
    "call",
    "include",
    "import",
    "from",
    "filter",
    "macro",
];

/// A token of an expression, with the white space before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) space: String,
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    /// Its text is the decoded value.
    String,
    Operator,
}

impl Token {
    pub(super) fn is(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }

    pub(super) fn opens(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text.as_str(), "(" | "[" | "{")
    }

    pub(super) fn closes(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text.as_str(), ")" | "]" | "}")
    }

    pub(super) fn is_keyword(&self) -> bool {
        self.kind == Kind::Name && KEYWORDS.contains(&self.text.as_str())
    }

    /// Whether an operand may end with the token.
    pub(super) fn ends_operand(&self) -> bool {
        self.closes() || (self.kind != Kind::Operator && !self.is_keyword())
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(&self.space);
        match self.kind {
            Kind::String => out.push_str(&quoted(&self.text)),
            _ => out.push_str(&self.text),
        }
    }
}

/// Reads the tokens up to the end of a tag. Returns them, the white space before the end, and what follows; `None` if
/// the tag has no end, or a string has none.
pub(super) fn tokens<'s>(text: &'s str, end: &str) -> Option<(Vec<Token>, String, &'s str)> {
    let (mut tokens, mut depth) = (Vec::new(), 0usize);
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let space = rest[..rest.len() - trimmed.len()].to_owned();
        rest = trimmed;
        // Two braces may also close two dictionaries.
        if depth == 0 || end == "%}" {
            let signs = ["-", "+", ""];
            if let Some(sign) =
                signs.iter().find(|sign| rest.strip_prefix(**sign).is_some_and(|r| r.starts_with(end)))
            {
                return Some((tokens, space, &rest[sign.len() + end.len()..]));
            }
        }
        let first = rest.chars().next()?;
        let (kind, length, text) = if matches!(first, '"' | '\'') {
            let length = string_length(rest, first)?;
            (Kind::String, length, decoded(&rest[1..length - 1]))
        } else {
            let (kind, length) = match first {
                c if c.is_alphabetic() || c == '_' => {
                    (Kind::Name, run(rest, |c| c.is_alphanumeric() || c == '_'))
                }
                c if c.is_ascii_digit() => (Kind::Number, number_length(rest)),
                _ => {
                    let known = ["//", "**", "==", "!=", "<=", ">="];
                    let long = known.iter().find(|operator| rest.starts_with(**operator));
                    (Kind::Operator, long.map_or(first.len_utf8(), |operator| operator.len()))
                }
            };
            (kind, length, rest[..length].to_owned())
        };
        rest = &rest[length..];
        let token = Token { space, kind, text };
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
        tokens.push(token);
    }
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of a number: digits, a fraction, an exponent.
fn number_length(text: &str) -> usize {
    let digits = |at: usize| at + run(&text[at..], |c| c.is_ascii_alphanumeric() || c == '_');
    let mut length = digits(0);
    let fraction =
        |at: usize| text[at..].starts_with('.') && text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    if fraction(length) {
        length = digits(length + 1);
    }
    if text[..length].ends_with(['e', 'E'])
        && !text.starts_with("0x")
        && text[length..].starts_with(['+', '-'])
    {
        length = digits(length + 1);
    }
    length
}

/// Joins strings that stand side by side.
pub(super) fn joined(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    for token in tokens {
        match out.last_mut() {
            Some(last) if last.kind == Kind::String && token.kind == Kind::String => {
                last.text.push_str(&token.text)
            }
            _ => out.push(token),
        }
    }
    out
}
