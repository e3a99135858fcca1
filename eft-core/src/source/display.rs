//! Printed combinations, `large + 0.7·(tuned − untuned)`: formulas, which the module `formula` of the facade reads.
//!
//! A program may nest a combination in a loop, so printing does not recurse.
use std::borrow::Cow;
use std::fmt::{self, Write};

use super::{Node, Source};
use crate::backend::Backend;

/// The number of levels that are printed; deeper ones are shown as `…`.
const LEVELS: usize = 16;

/// The number of terms that are printed; the rest is shown as one `…`.
const TERMS: usize = 256;

/// Returns a name as formulas write it: as it is, or in backquotes if it could be mistaken for something else.
///
/// A name needs no backquotes if it begins with a letter, `_` or `/`, and goes on with letters, digits and `_`, `-`,
/// `.` or `/`. In backquotes, a backquote is written twice.
///
/// ```
/// use eft_core::source::quoted;
///
/// assert_eq!(quoted("Qwen/Qwen2.5-0.5B"), "Qwen/Qwen2.5-0.5B");
/// assert_eq!(quoted("7B"), "`7B`");
/// assert_eq!(quoted("a `b`"), "`a ``b```");
/// ```
#[must_use]
pub fn quoted(name: &str) -> Cow<'_, str> {
    let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '/');
    if begins && name.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c)) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("`{}`", name.replace('`', "``")))
}

impl<B: Backend> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// Prints the combination as a formula. Very large ones are shortened by `…`; `{:#}` prints them in full.
///
/// The module `formula` of the crate `eft` reads what is printed, unless it has `…` in it. Weights are printed in single
/// precision. A part of which no formula is known, such as [`PromptTransform::new`](crate::PromptTransform::new), is
/// printed as `…` always.
impl<B: Backend> fmt::Display for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A combination with more terms than these cannot be evaluated anyway; written out, it may not fit in memory.
        let whole = (usize::MAX, super::walk::MAX_TERMS);
        let (levels, terms) = if f.alternate() { whole } else { (LEVELS, TERMS) };
        Printer { f, terms, levels, open: Vec::new() }.print(self)
    }
}

struct Printer<'a, 'f, 's, B: Backend> {
    f: &'a mut fmt::Formatter<'f>,
    /// Terms that may still be printed.
    terms: usize,
    /// Levels that may be open.
    levels: usize,
    /// The combinations that are being printed, the outermost first.
    open: Vec<Open<'s, B>>,
}

/// A combination of which some parts were printed.
struct Open<'s, B: Backend> {
    source: &'s Source<B>,
    /// The part that is printed next.
    next: usize,
    /// Whether it stands in brackets.
    brackets: bool,
}

impl<'s, B: Backend> Printer<'_, '_, 's, B> {
    fn print(&mut self, source: &'s Source<B>) -> fmt::Result {
        self.begin(source, false)?;
        while let Some(open) = self.open.last_mut() {
            let (source, part) = (open.source, open.next);
            open.next += 1;
            match source.node() {
                Node::Sum(terms) if part < terms.len() => self.term(terms, part)?,
                Node::Rule(rule, parts) if part < parts.len() => {
                    self.f.write_str(if part == 0 { "" } else { ", " })?;
                    if self.terms == 0 {
                        self.f.write_str("…")?;
                        self.skip(parts.len());
                    } else {
                        rule.share(part).map_or(Ok(()), |share| write!(self.f, "{share}: "))?;
                        self.begin(&parts[part], false)?;
                    }
                }
                Node::Under(_, inner) if part == 0 => self.begin(inner, false)?,
                _ => self.end()?,
            }
        }
        Ok(())
    }

    /// Prints a name, or the beginning of a combination.
    fn begin(&mut self, source: &'s Source<B>, brackets: bool) -> fmt::Result {
        if let Some(name) = source.given_name() {
            self.terms = self.terms.saturating_sub(1);
            return self.f.write_str(&quoted(name));
        }
        match source.node() {
            Node::Leaf(leaf) => {
                self.terms = self.terms.saturating_sub(1);
                self.f.write_str(&quoted(leaf.base()))?;
                return leaf.adapter().map_or(Ok(()), |name| write!(self.f, "[{}]", quoted(name)));
            }
            Node::Opaque(source) => {
                self.terms = self.terms.saturating_sub(1);
                return self.f.write_str(&quoted(source.vocab().name()));
            }
            _ if self.open.len() == self.levels => return self.f.write_str("…"),
            Node::Sum(_) if brackets => self.f.write_char('(')?,
            Node::Sum(_) => {}
            Node::Rule(rule, _) => write!(self.f, "{}(", rule.name())?,
            Node::Under(transform, _) => write!(self.f, "under({}, ", transform.written())?,
        }
        self.open.push(Open { source, next: 0, brackets });
        Ok(())
    }

    fn term(&mut self, terms: &'s [(f64, Source<B>)], part: usize) -> fmt::Result {
        if self.terms == 0 {
            self.skip(terms.len());
            return self.f.write_str(" + …");
        }
        let (weight, source) = &terms[part];
        match (part, *weight < 0.0) {
            (0, false) => {}
            (0, true) => self.f.write_str("−")?,
            (_, false) => self.f.write_str(" + ")?,
            (_, true) => self.f.write_str(" − ")?,
        }
        // As written: 0.7, not what 0.7 is in double precision.
        let size = weight.abs() as f32;
        if size != 1.0 {
            write!(self.f, "{size}·")?;
        }
        let alone = terms.len() == 1 && size == 1.0 && *weight > 0.0;
        self.begin(source, !alone)
    }

    /// Leaves out the rest of the parts.
    fn skip(&mut self, parts: usize) {
        if let Some(open) = self.open.last_mut() {
            open.next = parts;
        }
    }

    /// Prints the end of the innermost combination.
    fn end(&mut self) -> fmt::Result {
        let Some(Open { source, brackets, .. }) = self.open.pop() else { return Ok(()) };
        match source.node() {
            Node::Rule(rule, _) => {
                for (name, value) in rule.settings() {
                    write!(self.f, ", {name}={value}")?;
                }
                self.f.write_char(')')
            }
            Node::Under(..) => self.f.write_char(')'),
            _ if brackets => self.f.write_char(')'),
            _ => Ok(()),
        }
    }
}
