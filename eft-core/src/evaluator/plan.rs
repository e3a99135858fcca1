//! From an expression and prompts to what must run: prompts are rendered for each leaf, sums flattened, equal terms
//! folded, and terms that are the same model on the same token ids become one stream.
use std::sync::Arc;

use crate::backend::Backend;
use crate::combine::Rule;
use crate::source::{Leaf, Node, check_weight};
use crate::vocab::Common;
use crate::{Engine, Error, LogitSource, Prompt, Result, Source, TokenId, Vocab};

/// A model on one set of prompts: rows of some session.
pub(crate) struct StreamSpec<B: Backend> {
    pub(crate) origin: Origin<B>,
    pub(crate) rows: Rows,
    /// The term that was met first.
    pub(crate) name: String,
}

/// Where a stream's scores come from.
pub(crate) enum Origin<B: Backend> {
    Engine { engine: Arc<dyn Engine<Backend = B>>, adapter: Option<usize> },
    Opaque(Arc<dyn LogitSource<Backend = B>>),
}

/// What a stream is opened on.
#[derive(Clone, PartialEq)]
pub(crate) enum Rows {
    Ids(Vec<Vec<TokenId>>),
    Prompts(Vec<Prompt>),
}

impl<B: Backend> Origin<B> {
    /// The same weights, whatever the adapter: they can run in one pass.
    pub(crate) fn same_session(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Engine { engine: a, .. }, Self::Engine { engine: b, .. }) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Engine { engine: a, adapter: x }, Self::Engine { engine: b, adapter: y }) => {
                Arc::ptr_eq(a, b) && x == y
            }
            (Self::Opaque(a), Self::Opaque(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub(crate) fn vocab(&self) -> &Arc<Vocab> {
        match self {
            Self::Engine { engine, .. } => &engine.spec().vocab,
            Self::Opaque(source) => source.vocab(),
        }
    }
}

impl<B: Backend> Clone for Origin<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Engine { engine, adapter } => Self::Engine { engine: engine.clone(), adapter: *adapter },
            Self::Opaque(source) => Self::Opaque(source.clone()),
        }
    }
}

/// An expression over streams.
pub(crate) enum Expr<B: Backend> {
    Stream(usize),
    /// Weights finite and not zero.
    Sum(Vec<(f32, Expr<B>)>),
    Rule(Arc<dyn Rule<B>>, Vec<Expr<B>>),
}

impl<B: Backend> Expr<B> {
    /// Calls `f` on each stream, as often as it occurs.
    pub(crate) fn visit(&self, f: &mut impl FnMut(usize)) {
        match self {
            Self::Stream(stream) => f(*stream),
            Self::Sum(terms) => terms.iter().for_each(|(_, e)| e.visit(f)),
            Self::Rule(_, parts) => parts.iter().for_each(|e| e.visit(f)),
        }
    }

    pub(crate) fn streams(&self) -> Vec<usize> {
        let mut streams = Vec::new();
        self.visit(&mut |s| {
            if !streams.contains(&s) {
                streams.push(s);
            }
        });
        streams
    }

    /// The rule nearest to the root that a stream goes through, if any.
    pub(crate) fn rule(&self) -> Option<&Arc<dyn Rule<B>>> {
        match self {
            Self::Stream(_) => None,
            Self::Sum(terms) => terms.iter().find_map(|(_, e)| e.rule()),
            Self::Rule(rule, _) => Some(rule),
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream(a), Self::Stream(b)) => a == b,
            (Self::Rule(a, x), Self::Rule(b, y)) => {
                Arc::ptr_eq(a, b) && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.same(y))
            }
            (Self::Sum(x), Self::Sum(y)) => {
                x.len() == y.len() && x.iter().zip(y).all(|((v, x), (w, y))| v == w && x.same(y))
            }
            _ => false,
        }
    }

    /// The same with streams renumbered.
    fn renumber(&mut self, to: &[Option<usize>]) {
        match self {
            Self::Stream(s) => *s = to[*s].unwrap_or(usize::MAX),
            Self::Sum(terms) => terms.iter_mut().for_each(|(_, e)| e.renumber(to)),
            Self::Rule(_, parts) => parts.iter_mut().for_each(|e| e.renumber(to)),
        }
    }
}

impl<B: Backend> Clone for Expr<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Stream(stream) => Self::Stream(*stream),
            Self::Sum(terms) => Self::Sum(terms.clone()),
            Self::Rule(rule, parts) => Self::Rule(rule.clone(), parts.clone()),
        }
    }
}

/// A root: what is evaluated, and over which tokens.
pub(crate) struct Root<B: Backend> {
    pub(crate) name: String,
    pub(crate) expr: Expr<B>,
    /// The terms as the user wrote them, flattened but not folded.
    pub(crate) written: Vec<Written<B>>,
    pub(crate) common: Common,
    /// Stop ids of its terms, those of the common range and those past it.
    pub(crate) vocabs: Vec<Arc<Vocab>>,
}

/// A term as written.
pub(crate) struct Written<B: Backend> {
    pub(crate) name: String,
    /// `None` for a part of a rule, which has no weight.
    pub(crate) weight: Option<f32>,
    pub(crate) expr: Expr<B>,
}

/// What must run for a set of roots.
pub(crate) struct Plan<B: Backend> {
    pub(crate) streams: Vec<StreamSpec<B>>,
    pub(crate) roots: Vec<Root<B>>,
}

impl<B: Backend> Plan<B> {
    /// Plans `sources` on `prompts`. With `written`, streams that only cancelled terms need are kept as well.
    pub(crate) fn new(sources: &[Source<B>], prompts: &[Prompt], written: bool) -> Result<Self> {
        if prompts.is_empty() {
            return Err(Error::EmptyBatch { what: "open" });
        }
        if sources.is_empty() {
            return Err(Error::shape("roots of an evaluator", "at least one", 0));
        }
        let mut planner = Planner { streams: Vec::new() };
        let mut roots = sources.iter().map(|s| planner.root(s, prompts)).collect::<Result<Vec<Root<B>>>>()?;

        let mut used = vec![false; planner.streams.len()];
        for root in &roots {
            root.expr.visit(&mut |s| used[s] = true);
            if written {
                root.written.iter().for_each(|w| w.expr.visit(&mut |s| used[s] = true));
            }
        }
        let mut next = 0..;
        let to: Vec<_> = used.iter().map(|used| if *used { next.next() } else { None }).collect();
        let streams: Vec<_> =
            planner.streams.into_iter().zip(&used).filter(|(_, used)| **used).map(|(s, _)| s).collect();
        for root in &mut roots {
            root.expr.renumber(&to);
            root.written.iter_mut().for_each(|w| w.expr.renumber(&to));
            root.vocabs = root.expr.streams().iter().map(|s| streams[*s].origin.vocab().clone()).collect();
            root.common = Common::of(&root.vocabs)?;
        }
        Ok(Self { streams, roots })
    }
}

struct Planner<B: Backend> {
    streams: Vec<StreamSpec<B>>,
}

impl<B: Backend> Planner<B> {
    fn root(&mut self, source: &Source<B>, prompts: &[Prompt]) -> Result<Root<B>> {
        let name = source.name();
        let terms = self.flatten(source, prompts)?;
        let expr = fold(&name, &terms)?;
        let written = match &terms[..] {
            // A rule's parts are what its author wrote.
            [Flat { expr: Expr::Rule(_, parts), parts: names, .. }] => {
                let parts = names.iter().zip(parts);
                parts.map(|(n, e)| Written { name: n.clone(), weight: None, expr: e.clone() }).collect()
            }
            _ => terms
                .iter()
                .map(|t| Written {
                    name: t.name.clone(),
                    weight: Some(t.weight as f32),
                    expr: t.expr.clone(),
                })
                .collect(),
        };
        Ok(Root { name, expr, written, common: Common::default(), vocabs: Vec::new() })
    }

    fn flatten(&mut self, source: &Source<B>, prompts: &[Prompt]) -> Result<Vec<Flat<B>>> {
        let mut terms = Vec::new();
        self.flatten_into(source, prompts, 1.0, None, &mut terms)?;
        Ok(terms)
    }

    /// `name` is the one that an enclosing source was given, for what is no sum itself.
    fn flatten_into(
        &mut self,
        source: &Source<B>,
        prompts: &[Prompt],
        weight: f64,
        name: Option<String>,
        out: &mut Vec<Flat<B>>,
    ) -> Result<()> {
        let name = name.unwrap_or_else(|| source.name());
        match source.node() {
            Node::Sum(terms) => {
                for (w, term) in terms {
                    check_weight(*w, term)?;
                    let product = weight * f64::from(*w);
                    if !(product as f32).is_finite() {
                        return Err(Error::InvalidWeight { term: term.name(), weight: product as f32 });
                    }
                    self.flatten_into(term, prompts, product, None, out)?;
                }
            }
            Node::Under(transform, inner) => {
                let prompts = prompts.iter().map(|p| transform.apply(p)).collect::<Result<Vec<_>>>()?;
                // The name of a sum under another prompt would hide its terms.
                let name = (!matches!(inner.node(), Node::Sum(_))).then_some(name);
                self.flatten_into(inner, &prompts, weight, name, out)?;
            }
            Node::Leaf(leaf) => {
                let rows = self.render(leaf, &name, prompts)?;
                let origin = Origin::Engine { engine: leaf.engine.clone(), adapter: leaf.adapter };
                let stream = self.stream(origin, Rows::Ids(rows), &name);
                out.push(Flat { weight, expr: Expr::Stream(stream), name, parts: Vec::new() });
            }
            Node::Opaque(opaque) => {
                let rows = Rows::Prompts(prompts.to_vec());
                let stream = self.stream(Origin::Opaque(opaque.clone()), rows, &name);
                out.push(Flat { weight, expr: Expr::Stream(stream), name, parts: Vec::new() });
            }
            Node::Rule(rule, parts) => {
                let names = parts.iter().map(Source::name).collect();
                let parts = parts.iter().map(|part| {
                    let terms = self.flatten(part, prompts)?;
                    fold(&part.name(), &terms)
                });
                let parts = parts.collect::<Result<_>>()?;
                out.push(Flat { weight, expr: Expr::Rule(rule.clone(), parts), name, parts: names });
            }
        }
        Ok(())
    }

    fn render(&self, leaf: &Leaf<B>, name: &str, prompts: &[Prompt]) -> Result<Vec<Vec<TokenId>>> {
        prompts
            .iter()
            .enumerate()
            .map(|(row, prompt)| {
                let ids = leaf.renderer.render(name, prompt)?;
                if ids.is_empty() {
                    return Err(Error::EmptyPrompt { term: name.into(), row });
                }
                Ok(ids)
            })
            .collect()
    }

    fn stream(&mut self, origin: Origin<B>, rows: Rows, name: &str) -> usize {
        let known = self.streams.iter().position(|s| s.origin.same(&origin) && s.rows == rows);
        known.unwrap_or_else(|| {
            self.streams.push(StreamSpec { origin, rows, name: name.into() });
            self.streams.len() - 1
        })
    }
}

/// A term of a sum that was written out.
struct Flat<B: Backend> {
    name: String,
    weight: f64,
    expr: Expr<B>,
    /// Names of a rule's parts.
    parts: Vec<String>,
}

/// Adds the weights of equal terms and drops what comes to zero.
fn fold<B: Backend>(name: &str, terms: &[Flat<B>]) -> Result<Expr<B>> {
    struct Folded<'a, B: Backend> {
        expr: &'a Expr<B>,
        sum: f64,
        magnitude: f64,
    }
    let mut folded: Vec<Folded<'_, B>> = Vec::new();
    for Flat { weight, expr, .. } in terms {
        match folded.iter_mut().find(|f| f.expr.same(expr)) {
            Some(f) => {
                f.sum += weight;
                f.magnitude += weight.abs();
            }
            None => folded.push(Folded { expr, sum: *weight, magnitude: weight.abs() }),
        }
    }
    // λ and 1 − λ in f32 need not sum to exactly 1: what is left is rounding, and not worth a forward pass.
    let rounding = 4.0 * f64::from(f32::EPSILON);
    let mut left: Vec<_> = folded
        .into_iter()
        .filter(|f| f.sum.abs() > rounding * f.magnitude && f.sum as f32 != 0.0)
        .map(|f| (f.sum as f32, f.expr.clone()))
        .collect();
    match &left[..] {
        [] => Err(Error::NothingLeft { combination: name.into() }),
        [(1.0, _)] => Ok(left.remove(0).1),
        _ => Ok(Expr::Sum(left)),
    }
}
