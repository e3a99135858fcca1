//! [`Source`]: the handle that users hold and write algebra with.
//!
//! A source is a model, or a combination of models, under the prompts it will be opened on. It is a value: cheap to
//! clone, usable from many threads, and opened as often as one likes. Nothing runs, and nothing is checked, until
//! it is opened, generated from or scored with; [`Source::check`] checks without opening.
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
mod display;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;
use crate::combine::Rule;
use crate::evaluator::{Evaluator, EvaluatorSession, OpenOptions};
use crate::prompt::{PromptTransform, Renderer, TokensOnly};
use crate::vocab::Common;
use crate::{Decoding, Engine, Error, LogitSource, Opened, Prompt, Result, Sampler, Scores, TokenId, Vocab};

/// A model or a combination of models. See the [module](self).
pub struct Source<B: Backend> {
    inner: Arc<Inner<B>>,
}

struct Inner<B: Backend> {
    node: Node<B>,
    name: Option<String>,
    backend: B,
    /// Of the whole combination; made when first asked for.
    vocab: OnceLock<Arc<Vocab>>,
}

/// What a source is made of.
pub(crate) enum Node<B: Backend> {
    /// An engine of ours or a user's.
    Leaf(Leaf<B>),
    /// A source of which only the trait is known.
    Opaque(Arc<dyn LogitSource<Backend = B>>),
    /// The linear rules.
    Sum(Vec<(f32, Source<B>)>),
    /// The others: a function of the parts' rows.
    Rule(Arc<dyn Rule<B>>, Vec<Source<B>>),
    /// Another prompt for everything beneath.
    Under(PromptTransform, Source<B>),
}

/// An engine under one of its adapters, with its way to render prompts.
pub(crate) struct Leaf<B: Backend> {
    pub(crate) engine: Arc<dyn Engine<Backend = B>>,
    pub(crate) adapter: Option<usize>,
    pub(crate) renderer: Arc<dyn Renderer>,
}

impl<B: Backend> Source<B> {
    /// The bare weights of an engine, which takes prompts of token ids.
    pub fn new(engine: impl Engine<Backend = B> + 'static) -> Self {
        let backend = engine.spec().backend.clone();
        let leaf = Leaf { engine: Arc::new(engine), adapter: None, renderer: Arc::new(TokensOnly) };
        Self::of(Node::Leaf(leaf), backend)
    }

    /// A source of which only the trait is known: another library's model, a service. Prefer
    /// [`new`](Self::new) for a model that takes token ids.
    pub fn opaque(source: impl LogitSource<Backend = B> + 'static) -> Self {
        let backend = source.backend().clone();
        Self::of(Node::Opaque(Arc::new(source)), backend)
    }

    pub(crate) fn of(node: Node<B>, backend: B) -> Self {
        Self { inner: Arc::new(Inner { node, name: None, backend, vocab: OnceLock::new() }) }
    }

    pub(crate) fn sum(terms: Vec<(f32, Self)>) -> Self {
        let backend = terms[0].1.inner.backend.clone();
        Self::of(Node::Sum(terms), backend)
    }

    /// A combination by a rule of one's own: see [`Rule`].
    ///
    /// # Errors
    /// [`Error::Shape`] without parts.
    pub fn rule(rule: impl Rule<B> + 'static, parts: impl IntoIterator<Item = Self>) -> Result<Self> {
        let parts: Vec<_> = parts.into_iter().collect();
        let Some(first) = parts.first() else {
            return Err(Error::shape(format!("parts of the rule `{}`", rule.name()), "at least one", 0));
        };
        let backend = first.inner.backend.clone();
        Ok(Self::of(Node::Rule(Arc::new(rule), parts), backend))
    }

    /// The same weights under one of their adapters.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the engine has no adapter of this name, [`Error::Unsupported`] for a combination.
    pub fn adapter(&self, name: &str) -> Result<Self> {
        self.with_leaf("adapters", &|leaf| {
            let spec = leaf.engine.spec();
            let index = spec.adapters.iter().position(|a| a == name);
            let index = index.ok_or_else(|| spec.unknown_adapter(name.into()))?;
            Ok(Leaf { adapter: Some(index), ..leaf.clone() })
        })
    }

    /// The same model with another way to make token ids of prompts.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a combination: its models render for themselves.
    pub fn rendered_by(&self, renderer: impl Renderer + 'static) -> Result<Self> {
        let renderer: Arc<dyn Renderer> = Arc::new(renderer);
        let rendered =
            self.with_leaf("a renderer", &|leaf| Ok(Leaf { renderer: renderer.clone(), ..leaf.clone() }))?;
        Ok(match &self.inner.name {
            Some(name) => rendered.named(name.clone()),
            None => rendered,
        })
    }

    /// A single model, whatever its prompt, with another leaf.
    fn with_leaf(&self, what: &str, f: &dyn Fn(&Leaf<B>) -> Result<Leaf<B>>) -> Result<Self> {
        let node = match self.node() {
            Node::Leaf(leaf) => Node::Leaf(f(leaf)?),
            Node::Under(transform, inner) => Node::Under(transform.clone(), inner.with_leaf(what, f)?),
            Node::Opaque(_) | Node::Sum(_) | Node::Rule(..) => {
                let what = format!("{what}: it is no single model of token ids");
                return Err(Error::Unsupported { who: self.name(), what });
            }
        };
        Ok(Self::of(node, self.inner.backend.clone()))
    }

    /// The token ids that a single model makes of a prompt.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a combination: its models render for themselves. [`Error::CannotRender`].
    pub fn render(&self, prompt: impl Into<Prompt>) -> Result<Vec<TokenId>> {
        let prompt = prompt.into();
        match self.node() {
            Node::Leaf(leaf) => leaf.renderer.render(&self.name(), &prompt),
            Node::Under(transform, inner) => inner.render(transform.apply(&prompt)?),
            Node::Opaque(_) | Node::Sum(_) | Node::Rule(..) => Err(Error::Unsupported {
                who: self.name(),
                what: "one transform of a prompt: it is no single model of token ids".into(),
            }),
        }
    }

    /// The token ids that a single model makes of text behind a prompt: see [`Renderer::continuation`].
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn continuation(&self, text: &str) -> Result<Vec<TokenId>> {
        match self.node() {
            Node::Leaf(leaf) => leaf.renderer.continuation(&self.name(), text),
            Node::Under(_, inner) => inner.continuation(text),
            Node::Opaque(_) | Node::Sum(_) | Node::Rule(..) => Err(Error::Unsupported {
                who: self.name(),
                what: "one transform of text: it is no single model of token ids".into(),
            }),
        }
    }

    /// The same source under a changed prompt. Terms that share weights and differ in prompt run as rows of one
    /// forward pass.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, PromptTransform, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let model = from_fn(Host, vocab, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let hinted = model.under(PromptTransform::prefix([1, 1]));
    /// let guided = 1.5 * &hinted - 0.5 * &model; // guidance by prompt
    /// assert!(guided.check().is_ok());
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn under(&self, transform: PromptTransform) -> Self {
        Self::of(Node::Under(transform, self.clone()), self.inner.backend.clone())
    }

    /// The same source under a name, which errors and attributions speak of.
    pub fn named(&self, name: impl Into<String>) -> Self {
        let node = self.node().clone();
        let inner = Inner {
            node,
            name: Some(name.into()),
            backend: self.inner.backend.clone(),
            vocab: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The name given, or the model's, or the combination spelled out.
    pub fn name(&self) -> String {
        self.to_string()
    }

    pub(crate) fn is_named(&self) -> bool {
        self.inner.name.is_some()
    }

    pub(crate) fn node(&self) -> &Node<B> {
        &self.inner.node
    }

    /// The tensor library that the combination is computed with: that of its first term.
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    /// The tokens that the source has scores for: those which all its terms share. For terms whose vocabularies
    /// do not fit together, which [`check`](Self::check) tells, those of the first.
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

    /// The ids that end a text by default: those of any of its terms.
    pub fn stop_ids(&self) -> BTreeSet<TokenId> {
        self.vocabs().into_iter().flat_map(|v| v.eos().iter().copied()).collect()
    }

    /// Vocabularies of the models, in the order they are written; at least one.
    pub(crate) fn vocabs(&self) -> Vec<&Arc<Vocab>> {
        match self.node() {
            Node::Leaf(leaf) => vec![&leaf.engine.spec().vocab],
            Node::Opaque(source) => vec![source.vocab()],
            Node::Sum(terms) => terms.iter().flat_map(|(_, s)| s.vocabs()).collect(),
            Node::Rule(_, parts) => parts.iter().flat_map(Source::vocabs).collect(),
            Node::Under(_, inner) => inner.vocabs(),
        }
    }

    /// Checks what can be checked without a prompt: weights are finite, vocabularies fit together, and a text can
    /// end. All terms are looked at, also those that cancel; which do shows when prompts are rendered, at opening.
    ///
    /// # Errors
    /// [`Error::InvalidWeight`], [`Error::VocabMismatch`], [`Error::StopIdCut`].
    pub fn check(&self) -> Result<Check> {
        self.check_weights()?;
        let vocabs = self.vocabs();
        let common = Common::of(vocabs.iter().copied())?;
        for vocab in &vocabs {
            if let Some(&id) = vocab.eos().iter().find(|id| **id as usize >= common.width) {
                return Err(Error::StopIdCut { vocab: vocab.name().into(), id, common: common.width });
            }
        }
        Ok(Check { common: common.width, renamed: common.renamed.into_iter().collect() })
    }

    fn check_weights(&self) -> Result<()> {
        match self.node() {
            Node::Leaf(_) | Node::Opaque(_) => Ok(()),
            Node::Sum(terms) => terms.iter().try_for_each(|(weight, source)| {
                check_weight(*weight, source)?;
                source.check_weights()
            }),
            Node::Rule(_, parts) => parts.iter().try_for_each(Source::check_weights),
            Node::Under(_, inner) => inner.check_weights(),
        }
    }

    /// A sampler for a loop of one's own over `rows` rows, which knows where the source's texts end.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn sampler(&self, decoding: impl Into<Decoding>, rows: usize) -> Result<Sampler<B>> {
        let mut decoding = decoding.into();
        decoding.stop_ids.get_or_insert_with(|| self.stop_ids().into_iter().collect());
        Sampler::new(self.backend().clone(), &decoding, rows)
    }

    /// As [`LogitSource::open`], with a session that can also be [reopened](EvaluatorSession::reopen) on longer
    /// prompts.
    ///
    /// # Errors
    /// As [`Evaluator::open`].
    pub fn session(&self, prompts: &[Prompt]) -> Result<(EvaluatorSession<B>, Scores<B>)> {
        self.session_with(prompts, OpenOptions::default())
    }

    /// As [`session`](Self::session), with options.
    ///
    /// # Errors
    /// As [`Evaluator::open`].
    pub fn session_with(
        &self,
        prompts: &[Prompt],
        options: OpenOptions,
    ) -> Result<(EvaluatorSession<B>, Scores<B>)> {
        let mut session = EvaluatorSession::new(Evaluator::open_with(&[self], prompts, options)?);
        let scores = session.current()?;
        Ok((session, scores))
    }
}

pub(crate) fn check_weight<B: Backend>(weight: f32, source: &Source<B>) -> Result<()> {
    if weight.is_finite() {
        return Ok(());
    }
    Err(Error::InvalidWeight { term: source.name(), weight })
}

/// What [`Source::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// How many tokens all terms share.
    pub common: usize,
    /// Special tokens that bear different names in two of the vocabularies, with both names. Usable; but a text
    /// that holds one may mean different things to the models.
    pub renamed: Vec<(TokenId, (String, String))>,
}

impl<B: Backend> LogitSource for Source<B> {
    type Backend = B;

    fn backend(&self) -> &B {
        self.backend()
    }

    fn vocab(&self) -> &Arc<Vocab> {
        self.vocab()
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        let (session, scores) = self.session(prompts)?;
        Ok((Box::new(session), scores))
    }
}

impl<B: Backend> Clone for Source<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
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
        Self { engine: self.engine.clone(), adapter: self.adapter, renderer: self.renderer.clone() }
    }
}
