//! Combinations spelled out.
use std::fmt;

use super::{Node, Source};
use crate::backend::Backend;

impl<B: Backend> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

impl<B: Backend> fmt::Display for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.inner.name {
            return f.write_str(name);
        }
        match self.node() {
            Node::Leaf(leaf) => {
                let spec = leaf.engine.spec();
                f.write_str(&spec.name)?;
                leaf.adapter.map_or(Ok(()), |a| write!(f, "[{}]", spec.adapters[a]))
            }
            Node::Opaque(source) => f.write_str(source.vocab().name()),
            Node::Sum(terms) => display_sum(terms, f),
            Node::Rule(rule, parts) => {
                write!(f, "{}(", rule.name())?;
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Node::Under(_, inner) => write!(f, "{inner} (other prompt)"),
        }
    }
}

fn display_sum<B: Backend>(terms: &[(f32, Source<B>)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, (weight, source)) in terms.iter().enumerate() {
        match (i, *weight < 0.0) {
            (0, false) => {}
            (0, true) => f.write_str("−")?,
            (_, false) => f.write_str(" + ")?,
            (_, true) => f.write_str(" − ")?,
        }
        if weight.abs() != 1.0 {
            write!(f, "{}·", weight.abs())?;
        }
        let nested = matches!(source.node(), Node::Sum(_)) && !source.is_named();
        if nested { write!(f, "({source})")? } else { write!(f, "{source}")? }
    }
    Ok(())
}
