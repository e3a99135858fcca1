//! [`Source`]: a model or a combination of models, as a value.
//!
//! A source is cheap to clone and can be used from several threads. Opening it on prompts, generating from it and
//! scoring with it run the models; building a combination runs nothing and checks nothing. [`Source::check`] checks a
//! combination without opening it.
//!
//! ```
//! use eft_core::{from_fn, Host, Sampling, Source, Vocab};
//!
//! let vocab = Vocab::new("words", ["no", "yes", "."])?.with_eos([2])?;
//! let model = |name: &str, logits: [f32; 3]| {
//!     from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.to_vec())).named(name)
//! };
//! let large = model("large", [1.0, 0.5, 0.0]);
//! let tuned = model("tuned", [0.0, 2.0, 0.0]);
//! let untuned = model("untuned", [0.5, 0.0, 0.0]);
//!
//! let upscaled = &large + 0.7 * (&tuned - &untuned);
//! assert_eq!(upscaled.to_string(), "large + 0.7·(tuned − untuned)");
//! let first = upscaled.generate([0], Sampling::greedy())?.next().unwrap()?;
//! assert_eq!(first.id, 1);
//! # Ok::<(), eft_core::Error>(())
//! ```
mod check;
mod display;
mod node;
mod render;
mod rule;
mod walk;

pub use check::VocabCheck;
pub(crate) use check::check_weight;
pub use display::quoted;
pub(crate) use node::{Leaf, Node};
pub use rule::Rule;
use walk::Extent;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;
use crate::prompt::{PromptTransform, Renderer, TokensOnly};
use crate::vocab::Common;
use crate::{Engine, Error, LogitSource, Result, TokenId, Vocab};

/// A model or a combination of models. See the [module](self).
#[must_use = "a source does nothing until it is opened, generated from or scored with"]
pub struct Source<B: Backend> {
    inner: Arc<Inner<B>>,
}

struct Inner<B: Backend> {
    node: Node<B>,
    name: Option<String>,
    backend: B,
    extent: Extent,
    /// The vocabulary of the whole combination, made when it is first needed.
    vocab: OnceLock<Arc<Vocab>>,
}

impl<B: Backend> Source<B> {
    /// Makes a source of an engine: its weights without an adapter, on prompts of token ids.
    ///
    /// ```
    /// use eft_core::{EngineSpec, FnEngine, Host, Source, Vocab};
    ///
    /// let spec = EngineSpec::new("toy", Host, Vocab::new("ab", ["a", "b"])?).context(16);
    /// let model = Source::new(FnEngine::new(spec, |row| Ok(vec![row.tokens.len() as f32, 1.0])));
    /// assert_eq!(model.name(), "toy");
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn new(engine: impl Engine<Backend = B> + 'static) -> Self {
        Self::of_leaf(Leaf {
            engine: Arc::new(engine),
            adapter: None,
            base: None,
            renderer: Arc::new(TokensOnly),
        })
    }

    pub(crate) fn of_leaf(leaf: Leaf<B>) -> Self {
        let backend = leaf.engine.spec().backend.clone();
        Self::of(Node::Leaf(leaf), backend, Extent::ONE)
    }

    /// Makes a source of anything that implements [`LogitSource`], such as a service. Prefer [`new`](Self::new) for a
    /// model that takes token ids: engines share passes, and can continue a conversation.
    pub fn opaque(source: impl LogitSource<Backend = B> + 'static) -> Self {
        let backend = source.backend().clone();
        Self::of(Node::Opaque(Arc::new(source)), backend, Extent::ONE)
    }

    fn of(node: Node<B>, backend: B, extent: Extent) -> Self {
        Self { inner: Arc::new(Inner { node, name: None, backend, extent, vocab: OnceLock::new() }) }
    }

    /// A weighted sum of at least one term. A weight of a weight is multiplied out, and one term of weight 1 is no sum.
    pub(crate) fn sum(mut terms: Vec<(f64, Self)>) -> Self {
        for term in &mut terms {
            if let Some((inner, source)) = term.1.only_term() {
                *term = (term.0 * inner, source.clone());
            }
        }
        if let [(1.0, source)] = &terms[..] {
            return source.clone();
        }
        let extent = terms.iter().map(|(_, s)| s.inner.extent).reduce(Extent::and).unwrap_or(Extent::ONE);
        Self::sum_of_extent(terms, extent)
    }

    fn sum_of_extent(terms: Vec<(f64, Self)>, extent: Extent) -> Self {
        let backend = terms[0].1.inner.backend.clone();
        Self::of(Node::Sum(terms), backend, extent)
    }

    /// Returns `self + weight·other`. If `self` is a sum without a name, `other` becomes one more term of it.
    pub(crate) fn plus(self, weight: f64, other: &Self) -> Self {
        let extent = self.inner.extent.and(other.inner.extent);
        let mut terms = self.into_terms();
        // `a + 0.7 * b` is a sum of two terms, not of one term and a sum.
        match other.only_term() {
            Some((inner, source)) => terms.push((weight * inner, source.clone())),
            None => terms.push((weight, other.clone())),
        }
        Self::sum_of_extent(terms, extent)
    }

    /// Returns `weight·self`.
    pub(crate) fn times(&self, weight: f64) -> Self {
        Self::sum(vec![(weight, self.clone())])
    }

    /// The terms of a sum without a name; else the source itself, as the only one.
    fn into_terms(mut self) -> Vec<(f64, Self)> {
        if self.inner.name.is_some() || !matches!(self.inner.node, Node::Sum(_)) {
            return vec![(1.0, self)];
        }
        // The only owner gives its terms away, so that adding terms in a loop does not copy them all each time.
        match Arc::get_mut(&mut self.inner).map(|inner| &mut inner.node) {
            Some(Node::Sum(terms)) => std::mem::take(terms),
            _ => match self.node() {
                Node::Sum(terms) => terms.clone(),
                _ => Vec::new(),
            },
        }
    }

    /// The weight and the source of a sum of one term that has no name.
    fn only_term(&self) -> Option<(f64, &Self)> {
        match self.node() {
            Node::Sum(terms) if terms.len() == 1 && self.inner.name.is_none() => {
                Some((terms[0].0, &terms[0].1))
            }
            _ => None,
        }
    }

    /// Combines parts by a rule of your own: see [`Rule`].
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no parts.
    pub fn rule(rule: impl Rule<B> + 'static, parts: impl IntoIterator<Item = Self>) -> Result<Self> {
        let parts: Vec<_> = parts.into_iter().collect();
        let Some(extent) = parts.iter().map(|s| s.inner.extent).reduce(Extent::and) else {
            return Err(Error::shape(format!("parts of the rule `{}`", rule.name()), "at least one", 0));
        };
        let backend = parts[0].inner.backend.clone();
        Ok(Self::of(Node::Rule(Arc::new(rule), parts), backend, extent.nested()))
    }

    /// Returns the same weights under one of their adapters.
    ///
    /// ```
    /// use eft_core::{EngineSpec, FnEngine, Host, Source, Vocab};
    ///
    /// let spec = EngineSpec::new("base", Host, Vocab::new("ab", ["a", "b"])?).adapters(["polite"]);
    /// let base = Source::new(FnEngine::new(spec, |row| {
    ///     Ok(if row.adapter.is_some() { vec![0.0, 1.0] } else { vec![1.0, 0.0] })
    /// }));
    /// let tuned = base.adapter("polite")?;
    /// assert_eq!(tuned.name(), "base[polite]");
    /// // Both run as rows of one forward pass.
    /// let stronger = &base + 1.5 * (&tuned - &base);
    /// # let _ = stronger;
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Unknown`] if the engine has no adapter of this name.
    /// * [`Error::Unsupported`] if the source is a combination or opaque.
    pub fn adapter(&self, name: &str) -> Result<Self> {
        self.with_leaf("adapters", |leaf, given| {
            let spec = leaf.engine.spec();
            let index = spec.adapters.iter().position(|a| a == name);
            let index = index.ok_or_else(|| spec.unknown_adapter(name.into()))?;
            let base = given.map(Into::into).or_else(|| leaf.base.clone());
            Ok(Leaf { adapter: Some(index), base, ..leaf.clone() })
        })
    }

    /// Returns a single model with its leaf changed, under the same prompt transforms as before. `what` is what an
    /// error says that other sources do not support. `change` is given the leaf and its given name.
    fn with_leaf(
        &self,
        what: &str,
        change: impl FnOnce(&Leaf<B>, Option<&str>) -> Result<Leaf<B>>,
    ) -> Result<Self> {
        let mut transforms = Vec::new();
        let mut source = self;
        while let Node::Under(transform, inner) = source.node() {
            transforms.push(transform);
            source = inner;
        }
        let Node::Leaf(leaf) = source.node() else {
            let what = format!("{what}: it is not a single model of token ids");
            return Err(Error::Unsupported { who: self.name(), what });
        };
        let changed = Self::of_leaf(change(leaf, source.given_name())?);
        Ok(transforms.into_iter().rev().fold(changed, |source, t| source.under(t.clone())))
    }

    /// The single model that the source is, without its prompt transforms, and what renders its prompts. `what` is what an
    /// error says that other sources do not support.
    pub(crate) fn single_model(&self, what: &str) -> Result<(&Self, &Arc<dyn Renderer>)> {
        let mut source = self;
        while let Node::Under(_, inner) = source.node() {
            source = inner;
        }
        match source.node() {
            Node::Leaf(leaf) => Ok((source, &leaf.renderer)),
            _ => {
                let what = format!("{what}: it is not a single model of token ids");
                Err(Error::Unsupported { who: self.name(), what })
            }
        }
    }

    /// Returns the same source with its prompts transformed. Terms that share weights and differ only in their prompts
    /// run as rows of one forward pass.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, PromptTransform, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let hinted = model.under(PromptTransform::prefix([1, 1]));
    /// let guided = 1.5 * &hinted - 0.5 * &model; // classifier-free guidance
    /// assert!(guided.check().is_ok());
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn under(&self, transform: PromptTransform) -> Self {
        let extent = self.inner.extent.nested();
        Self::of(Node::Under(transform, self.clone()), self.inner.backend.clone(), extent)
    }

    /// Returns the same source with a name, which errors, attributions and printed combinations use.
    pub fn named(&self, name: impl Into<String>) -> Self {
        let Inner { node, backend, extent, .. } = &*self.inner;
        let (node, backend) = (node.clone(), backend.clone());
        let name = Some(name.into());
        Self { inner: Arc::new(Inner { node, name, backend, extent: *extent, vocab: OnceLock::new() }) }
    }

    /// Returns the name that was given; without one, the model's name or the combination as it was written.
    pub fn name(&self) -> String {
        match (self.given_name(), self.node()) {
            (Some(name), _) => name.into(),
            (None, Node::Leaf(leaf)) => match leaf.adapter() {
                Some(adapter) => format!("{}[{adapter}]", leaf.base()),
                None => leaf.base().into(),
            },
            (None, Node::Opaque(source)) => source.vocab().name().into(),
            (None, Node::Sum(_) | Node::Rule(..) | Node::Under(..)) => self.to_string(),
        }
    }

    /// The name that was given by [`named`](Self::named).
    pub(crate) fn given_name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Whether both are one value: clones of one source.
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn node(&self) -> &Node<B> {
        &self.inner.node
    }

    /// Returns the tensor library that the combination is computed with: that of its first term.
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    /// Returns the tokens that the source has scores for: those that all its models share. If their vocabularies do
    /// not fit together, which [`check`](Self::check) reports, it is the vocabulary of the first model.
    pub fn vocab(&self) -> &Arc<Vocab> {
        self.inner.vocab.get_or_init(|| {
            let vocabs = self.vocabs();
            let first = vocabs[0];
            match Common::of(vocabs.iter().copied()) {
                Ok(common) if vocabs.len() > 1 => Arc::new(first.cut(self.name(), common.width, common.eos)),
                _ => first.clone(),
            }
        })
    }

    /// Returns the ids that end a text by default: the end-of-sequence ids of all models.
    pub fn stop_ids(&self) -> BTreeSet<TokenId> {
        self.vocabs().into_iter().flat_map(|v| v.eos().iter().copied()).collect()
    }

    /// Returns the models of the source, without prompt transforms, in the order in which they are written. A model that
    /// occurs several times under one name is returned once if all of these are one value.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![1.0, 0.0])).named(name);
    /// let (large, tuned) = (model("large"), model("tuned"));
    /// let names: Vec<_> = (&large + 0.5 * (&tuned - &large)).distinct_models().iter().map(|m| m.name()).collect();
    /// assert_eq!(names, ["large", "tuned"]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    #[must_use]
    pub fn distinct_models(&self) -> Vec<Self> {
        self.distinct().filter(|s| matches!(s.node(), Node::Leaf(_) | Node::Opaque(_))).cloned().collect()
    }

    /// The vocabularies of the distinct models, in the order in which they are written; at least one.
    pub(crate) fn vocabs(&self) -> Vec<&Arc<Vocab>> {
        self.distinct()
            .filter_map(|source| match source.node() {
                Node::Leaf(leaf) => Some(&leaf.engine.spec().vocab),
                Node::Opaque(source) => Some(source.vocab()),
                Node::Sum(_) | Node::Rule(..) | Node::Under(..) => None,
            })
            .collect()
    }
}

impl<B: Backend> Clone for Source<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}
