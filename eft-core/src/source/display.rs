//! Printed combinations: `large + 0.7·(tuned − untuned)`.
use std::fmt;

use super::{Node, Source};
use crate::backend::Backend;

/// The number of levels that are printed; deeper ones are shown as `…`.
const LEVELS: usize = 16;

/// The number of terms that are printed; the rest is shown as one `…`.
const TERMS: usize = 256;

impl<B: Backend> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// Prints the name, or the combination as it was written. Very large combinations are shortened by `…`.
impl<B: Backend> fmt::Display for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer { f, terms: TERMS }.source(self, LEVELS)
    }
}

struct Printer<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    /// Terms that may still be printed.
    terms: usize,
}

impl Printer<'_, '_> {
    fn source<B: Backend>(&mut self, source: &Source<B>, levels: usize) -> fmt::Result {
        if let Some(name) = source.given_name() {
            self.terms = self.terms.saturating_sub(1);
            return self.f.write_str(name);
        }
        match source.node() {
            Node::Leaf(leaf) => {
                self.terms = self.terms.saturating_sub(1);
                let spec = leaf.engine.spec();
                self.f.write_str(&spec.name)?;
                leaf.adapter.map_or(Ok(()), |a| write!(self.f, "[{}]", spec.adapters[a]))
            }
            Node::Opaque(source) => {
                self.terms = self.terms.saturating_sub(1);
                self.f.write_str(source.vocab().name())
            }
            _ if levels == 0 => self.f.write_str("…"),
            Node::Sum(terms) => self.sum(terms, levels - 1),
            Node::Rule(rule, parts) => {
                write!(self.f, "{}(", rule.name())?;
                for (i, part) in parts.iter().enumerate() {
                    self.f.write_str(if i == 0 { "" } else { ", " })?;
                    if self.terms == 0 {
                        self.f.write_str("…")?;
                        break;
                    }
                    self.source(part, levels - 1)?;
                }
                self.f.write_str(")")
            }
            Node::Under(_, inner) => {
                self.source(inner, levels - 1)?;
                self.f.write_str(" (other prompt)")
            }
        }
    }

    fn sum<B: Backend>(&mut self, terms: &[(f64, Source<B>)], levels: usize) -> fmt::Result {
        for (i, (weight, source)) in terms.iter().enumerate() {
            if self.terms == 0 {
                return self.f.write_str(" + …");
            }
            match (i, *weight < 0.0) {
                (0, false) => {}
                (0, true) => self.f.write_str("−")?,
                (_, false) => self.f.write_str(" + ")?,
                (_, true) => self.f.write_str(" − ")?,
            }
            // As written: 0.7, not what 0.7 is in double precision.
            let weight = weight.abs() as f32;
            if weight != 1.0 {
                write!(self.f, "{weight}·")?;
            }
            let nested = matches!(source.node(), Node::Sum(_)) && source.given_name().is_none();
            self.f.write_str(if nested { "(" } else { "" })?;
            self.source(source, levels)?;
            self.f.write_str(if nested { ")" } else { "" })?;
        }
        Ok(())
    }
}
