//! Walks over combinations of any size. A program may build a combination in a loop, so none of these recurse.
use std::collections::HashSet;
use std::sync::Arc;

use super::{Node, Source};
use crate::backend::Backend;
use crate::prompt::PromptTransform;
use crate::{Error, Result};

/// The most terms that a combination may have once all its sums and rules are written out.
pub(super) const MAX_TERMS: usize = 1 << 18;

/// How many levels of rules and prompt transforms may be nested. (Nested sums are unlimited: they are flattened.)
const MAX_DEPTH: usize = 128;

/// How large a combination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The number of occurrences of models.
    pub(crate) terms: usize,
    /// Levels of nested rules and prompt transforms.
    pub(crate) depth: usize,
}

impl Extent {
    /// The extent of a single model.
    pub(crate) const ONE: Self = Self { terms: 1, depth: 0 };

    /// The extent of both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { terms: self.terms.saturating_add(other.terms), depth: self.depth.max(other.depth) }
    }

    /// The extent of a rule or a prompt transform around this.
    pub(crate) fn nested(self) -> Self {
        Self { terms: self.terms, depth: self.depth.saturating_add(1) }
    }
}

/// A model of a combination: a leaf or an opaque source, with its weight and prompt transforms.
pub(crate) struct WrittenModel<'a, B: Backend> {
    pub(crate) source: &'a Source<B>,
    /// The product of the weights of all sums around it, and of those that the rules around it report for their parts.
    pub(crate) weight: f64,
    /// The prompt transforms around it, the outermost first: the order in which they apply.
    pub(crate) transforms: Vec<&'a PromptTransform>,
}

/// A term of a sum that is written out.
pub(crate) struct SumTerm<'a, B: Backend> {
    pub(crate) source: &'a Source<B>,
    pub(crate) weight: f64,
}

impl<B: Backend> Source<B> {
    /// Every distinct node once, in the order in which they are written.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = &Self> {
        let mut seen = HashSet::new();
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            loop {
                let source = stack.pop()?;
                if seen.insert(Arc::as_ptr(&source.inner)) {
                    stack.extend(source.node().children().rev());
                    return Some(source);
                }
            }
        })
    }

    /// Every occurrence of every model, in the order in which they are written.
    ///
    /// # Errors
    /// [`Error::TooComplex`] if the combination is too large to be written out.
    pub(crate) fn models(&self) -> Result<Vec<WrittenModel<'_, B>>> {
        self.check_extent()?;
        let mut models = Vec::new();
        let mut stack = vec![WrittenModel { source: self, weight: 1.0, transforms: Vec::new() }];
        while let Some(WrittenModel { source, weight, mut transforms }) = stack.pop() {
            match source.node() {
                Node::Leaf(_) | Node::Opaque(_) => models.push(WrittenModel { source, weight, transforms }),
                Node::Sum(terms) => stack.extend(terms.iter().rev().map(|(w, source)| WrittenModel {
                    source,
                    weight: weight * w,
                    transforms: transforms.clone(),
                })),
                Node::Rule(rule, parts) => {
                    stack.extend(parts.iter().enumerate().rev().map(|(part, source)| WrittenModel {
                        source,
                        weight: weight * f64::from(rule.weight(part).unwrap_or(1.0)),
                        transforms: transforms.clone(),
                    }))
                }
                Node::Under(transform, source) => {
                    transforms.push(transform);
                    stack.push(WrittenModel { source, weight, transforms });
                }
            }
        }
        Ok(models)
    }

    /// The terms of the sums that are written out, whatever their prompts: models and rules, with their weights.
    ///
    /// # Errors
    /// [`Error::TooComplex`] if the combination is too large to be written out.
    pub(crate) fn terms(&self) -> Result<Vec<SumTerm<'_, B>>> {
        self.check_extent()?;
        let mut terms = Vec::new();
        let mut stack = vec![SumTerm { source: self, weight: 1.0 }];
        while let Some(SumTerm { source, weight }) = stack.pop() {
            match source.node() {
                Node::Sum(terms) => {
                    let inner = terms.iter().rev();
                    stack.extend(inner.map(|(w, source)| SumTerm { source, weight: weight * w }));
                }
                Node::Under(_, source) => stack.push(SumTerm { source, weight }),
                Node::Leaf(_) | Node::Opaque(_) | Node::Rule(..) => terms.push(SumTerm { source, weight }),
            }
        }
        Ok(terms)
    }

    /// Refuses combinations too large to be evaluated.
    pub(crate) fn check_extent(&self) -> Result<()> {
        let Extent { terms, depth } = self.inner.extent;
        for (what, count, limit) in
            [("terms", terms, MAX_TERMS), ("levels of nested rules and prompts", depth, MAX_DEPTH)]
        {
            if count > limit {
                return Err(Error::TooComplex { combination: self.name(), what, count, limit });
            }
        }
        Ok(())
    }
}

/// Takes a combination apart node by node. The derived drop would recurse, and overflow the stack where a loop has
/// nested very many.
impl<B: Backend> Drop for super::Inner<B> {
    fn drop(&mut self) {
        let mut stack = Vec::new();
        self.node.take_children(&mut stack);
        while let Some(Source { inner }) = stack.pop() {
            // Only the last owner takes it apart.
            if let Some(mut inner) = Arc::into_inner(inner) {
                inner.node.take_children(&mut stack);
            }
        }
    }
}
