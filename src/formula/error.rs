use std::fmt;
use std::ops::Range;

/// The result of reading a formula.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The number of characters of a long line that are shown before and after the place at fault.
const SHOWN: usize = 50;

/// A fault of a formula, and where it is.
///
/// It is printed as a message, the line of the formula if it is not empty, and a mark under the place at fault:
///
/// ```
/// # use eft::{Host, Source, formula};
/// let error = formula::parse::<Host, &str>("2 + )", []).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "column 5: expected a model, a number or `(`, found `)`\n  2 + )\n      ^",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    line: usize,
    column: usize,
    message: String,
    /// Whether the formula has several lines.
    lines: bool,
    /// The part of the line that is shown, and the mark under it, each after a line break; empty for an empty line.
    excerpt: String,
}

impl Error {
    /// A fault at these bytes of the formula.
    pub(super) fn at(text: &str, span: &Range<usize>, message: impl Into<String>) -> Self {
        let begin = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let before = text[begin..span.start].chars().count();
        let marked = text[span.clone()].lines().next().unwrap_or_default().chars().count().max(1);

        let skipped = before.saturating_sub(SHOWN);
        let marked = marked.min(SHOWN);
        let mut shown: String = line.chars().skip(skipped).take(before - skipped + marked + SHOWN).collect();
        let cut = line.chars().count() > skipped + shown.chars().count();
        // A tab would move the mark.
        shown = shown.replace(char::is_control, " ");
        let (front, back) = (if skipped > 0 { "…" } else { "" }, if cut { "…" } else { "" });
        let indent = " ".repeat(before - skipped + front.chars().count());
        // An empty line shows nothing.
        let excerpt = match shown.trim().is_empty() {
            true => String::new(),
            false => format!("\n  {front}{shown}{back}\n  {indent}{}", "^".repeat(marked)),
        };
        Self {
            line: text[..span.start].matches('\n').count() + 1,
            column: before + 1,
            message: message.into(),
            lines: text.trim_end().contains('\n'),
            excerpt,
        }
    }

    /// Returns the line at fault, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the column at which the fault begins: the number of its first character in the line, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// Returns the description of the fault, without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}{}", self.column, self.message, self.excerpt)
    }
}

impl std::error::Error for Error {}

impl From<Error> for eft_core::Error {
    fn from(error: Error) -> Self {
        Self::Formula(error.into())
    }
}
