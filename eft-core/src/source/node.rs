//! The nodes that a source consists of.
use std::sync::Arc;

use super::{Rule, Source};
use crate::backend::Backend;
use crate::prompt::{PromptTransform, Renderer};
use crate::{Engine, LogitSource};

/// One node of a combination.
pub(crate) enum Node<B: Backend> {
    /// A model of token ids.
    Leaf(Leaf<B>),
    /// A source of which only the [`LogitSource`] interface is known.
    Opaque(Arc<dyn LogitSource<Backend = B>>),
    /// A weighted sum. Weights are products of the user's weights, in double precision.
    Sum(Vec<(f64, Source<B>)>),
    /// A function of the parts' log-probabilities.
    Rule(Arc<dyn Rule<B>>, Vec<Source<B>>),
    /// A source whose prompt is transformed first.
    Under(PromptTransform, Source<B>),
}

/// An engine under one of its adapters, with the renderer that makes its token ids.
pub(crate) struct Leaf<B: Backend> {
    pub(crate) engine: Arc<dyn Engine<Backend = B>>,
    pub(crate) adapter: Option<usize>,
    /// The name that the source had to which the adapter was applied, if it was given one.
    pub(crate) base: Option<String>,
    pub(crate) renderer: Arc<dyn Renderer>,
}

impl<B: Backend> Leaf<B> {
    /// The name without the adapter.
    pub(crate) fn base(&self) -> &str {
        self.base.as_ref().unwrap_or(&self.engine.spec().name)
    }

    /// The name of the adapter.
    pub(crate) fn adapter(&self) -> Option<&str> {
        Some(&self.engine.spec().adapters[self.adapter?])
    }
}

impl<B: Backend> Node<B> {
    /// The direct children of the node, in the order in which they were written.
    pub(crate) fn children(&self) -> Box<dyn DoubleEndedIterator<Item = &Source<B>> + '_> {
        match self {
            Self::Leaf(_) | Self::Opaque(_) => Box::new(std::iter::empty()),
            Self::Sum(terms) => Box::new(terms.iter().map(|(_, source)| source)),
            Self::Rule(_, parts) => Box::new(parts.iter()),
            Self::Under(_, inner) => Box::new(std::iter::once(inner)),
        }
    }

    /// Moves the direct children out of the node, which then has none.
    pub(super) fn take_children(&mut self, out: &mut Vec<Source<B>>) {
        match std::mem::replace(self, Self::Sum(Vec::new())) {
            Self::Leaf(_) | Self::Opaque(_) => {}
            Self::Sum(terms) => out.extend(terms.into_iter().map(|(_, source)| source)),
            Self::Rule(_, parts) => out.extend(parts),
            Self::Under(_, inner) => out.push(inner),
        }
    }
}

impl<B: Backend> Clone for Node<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Opaque(source) => Self::Opaque(source.clone()),
            Self::Sum(terms) => Self::Sum(terms.clone()),
            Self::Rule(rule, parts) => Self::Rule(rule.clone(), parts.clone()),
            Self::Under(transform, source) => Self::Under(transform.clone(), source.clone()),
        }
    }
}

impl<B: Backend> Clone for Leaf<B> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            adapter: self.adapter,
            base: self.base.clone(),
            renderer: self.renderer.clone(),
        }
    }
}
