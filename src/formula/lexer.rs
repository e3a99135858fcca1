//! From the characters of a formula to its tokens.
use std::fmt;
use std::ops::Range;

use eft_core::source::quoted;

use super::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name without backquotes: of a model, a rule or an argument.
    Name(String),
    /// A name in backquotes, which is that of a model.
    Quoted(String),
    Number(f64),
    /// A text in double quotes.
    Text(String),
    /// The name of an adapter in square brackets after a model.
    Adapter(String),
    Plus,
    Minus,
    Times,
    Divide,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Colon,
    Equals,
    /// What is no token, with its error. It is the last one; the parser may find a fault before it.
    Fault(Box<Error>),
    End,
}

/// A token, and its bytes in the formula.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

impl Token {
    /// Whether an operator may follow the token, and not an operand.
    fn ends_operand(&self) -> bool {
        matches!(
            self,
            Self::Name(_)
                | Self::Quoted(_)
                | Self::Number(_)
                | Self::Text(_)
                | Self::Adapter(_)
                | Self::Close
                | Self::CloseList
        )
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(name) | Self::Quoted(name) => return write!(f, "the name `{name}`"),
            Self::Number(number) => return write!(f, "the number {number}"),
            Self::Text(_) => "a text",
            Self::Adapter(name) => return write!(f, "the adapter `{name}`"),
            Self::Plus => "`+`",
            Self::Minus => "`-`",
            Self::Times => "`*`",
            Self::Divide => "`/`",
            Self::Open => "`(`",
            Self::Close => "`)`",
            Self::OpenList => "`[`",
            Self::CloseList => "`]`",
            Self::Comma => "`,`",
            Self::Colon => "`:`",
            Self::Equals => "`=`",
            Self::Fault(error) => error.message(),
            Self::End => "the end of the formula",
        })
    }
}

/// The tokens of a formula, the last of which is its end or a fault. `names` are those of the models.
pub(super) fn tokens(text: &str, names: &[&str]) -> Vec<Placed> {
    // The longest first, since the first that fits is taken.
    let mut bare: Vec<_> = names.iter().copied().filter(|name| quoted(name) == **name).collect();
    bare.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut lexer = Lexer { text, at: 0, bare };
    let mut tokens: Vec<Placed> = Vec::new();
    loop {
        lexer.take(char::is_whitespace);
        let start = lexer.at;
        let operand = tokens.last().is_some_and(|last| last.token.ends_operand());
        let token = lexer.token(operand).unwrap_or_else(|error| Token::Fault(error.into()));
        let last = matches!(token, Token::End | Token::Fault(_));
        tokens.push(Placed { token, span: start..lexer.at });
        if last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// The names of models that need no backquotes, the longest first.
    bare: Vec<&'a str>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Takes characters while they are of one kind, and returns them.
    fn take(&mut self, kind: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !kind(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn error<T>(&self, start: usize, message: impl Into<String>) -> Result<T> {
        Err(Error::at(self.text, &(start..self.at), message))
    }

    /// The next token. `operand` says whether the one before it ends an operand.
    fn token(&mut self, operand: bool) -> Result<Token> {
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(Token::End) };
        if first.is_alphabetic() || first == '_' || (first == '/' && !operand && self.known().is_some()) {
            return Ok(self.name());
        }
        if first.is_ascii_digit() || first == '.' {
            return self.number();
        }
        self.next();
        Ok(match first {
            '+' => Token::Plus,
            '-' | '−' => Token::Minus,
            '*' | '·' => Token::Times,
            '/' => Token::Divide,
            '(' => Token::Open,
            ')' => Token::Close,
            '[' if operand => return self.adapter(start),
            '[' => Token::OpenList,
            ']' => Token::CloseList,
            ',' => Token::Comma,
            ':' => Token::Colon,
            '=' => Token::Equals,
            '`' => return Ok(Token::Quoted(self.quoted(start)?)),
            '"' => return self.string(start),
            '…' => {
                let message = "`…` stands for a part that is not printed; the format `{:#}` prints large formulas in full";
                return self.error(start, message);
            }
            other => return self.error(start, format!("unexpected character `{other}`")),
        })
    }

    /// The longest known name that comes next and ends there.
    fn known(&self) -> Option<&'a str> {
        let ends = |after: &str| {
            let mut after = after.chars();
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            match after.next() {
                Some('.') => !part(after.next()),
                next => !part(next),
            }
        };
        let rest = self.rest();
        self.bare.iter().copied().find(|name| rest.strip_prefix(name).is_some_and(ends))
    }

    fn name(&mut self) -> Token {
        let name = match self.known() {
            Some(name) => {
                self.at += name.len();
                name
            }
            None => self.take(|c| c.is_alphanumeric() || c == '_' || c == '.'),
        };
        Token::Name(name.into())
    }

    fn number(&mut self) -> Result<Token> {
        let start = self.at;
        self.take(|c| c.is_ascii_digit() || c == '.');
        let mantissa = self.at;
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next();
            if matches!(self.peek(), Some('+' | '-')) {
                self.next();
            }
            if self.take(|c| c.is_ascii_digit()).is_empty() {
                self.at = mantissa;
            }
        }
        let number = &self.text[start..self.at];
        if self.peek().is_some_and(|c| c.is_alphabetic() || c == '_') {
            self.take(|c| c.is_alphanumeric() || "_-./".contains(c));
            let message =
                "expected `*` after the number, or backquotes around a name that begins with a digit";
            return self.error(start, message);
        }
        match number.parse() {
            Ok(number) if (number as f32).is_finite() => Ok(Token::Number(number)),
            Ok(_) => self.error(start, "the number is too large"),
            Err(_) => self.error(start, format!("`{number}` is not a number")),
        }
    }

    /// The name of an adapter and its closing bracket, after the opening one.
    fn adapter(&mut self, start: usize) -> Result<Token> {
        self.take(char::is_whitespace);
        let at = self.at;
        let name = match self.peek() {
            Some('`') => {
                self.next();
                self.quoted(at)?
            }
            _ => self.take(|c| c.is_alphanumeric() || "_-./".contains(c)).into(),
        };
        if self.at == at {
            return self.error(start, "expected the name of an adapter and `]` after `[`");
        }
        self.take(char::is_whitespace);
        match self.next() {
            Some(']') => Ok(Token::Adapter(name)),
            _ => self.error(start, "expected `]` after the name of the adapter"),
        }
    }

    /// A name in backquotes, after the first of them.
    fn quoted(&mut self, start: usize) -> Result<String> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('`') if self.peek() == Some('`') => {
                    self.next();
                    name.push('`');
                }
                Some('`') => return Ok(name),
                Some(c) => name.push(c),
                None => return self.error(start, "the name has no closing backquote"),
            }
        }
    }

    fn string(&mut self, start: usize) -> Result<Token> {
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some('"') => return Ok(Token::Text(text)),
                Some('\\') => match self.escaped() {
                    Some(c) => text.push(c),
                    None => {
                        let message = r#"no such escape; there are \", \\, \', \n, \r, \t, \0 and \u{…}"#;
                        return self.error(at, message);
                    }
                },
                Some(c) => text.push(c),
                None => return self.error(start, "the text has no closing double quote"),
            }
        }
    }

    /// The character that an escape means, after its backslash.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            c @ ('"' | '\\' | '\'') => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'u' => {
                let digits = self.rest().strip_prefix('{')?.split_once('}')?.0;
                let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                self.at += digits.len() + 2;
                c
            }
            _ => return None,
        })
    }
}
