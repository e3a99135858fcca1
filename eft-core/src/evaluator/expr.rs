//! Planned expressions: combinations of models by their index.
use std::sync::Arc;

use crate::Vocab;
use crate::backend::Backend;
use crate::source::Rule;
use crate::vocab::Common;

/// An expression over the models of an evaluator.
pub(crate) enum Expr<B: Backend> {
    /// The scores of a model, by its index.
    Model(usize),
    /// A weighted sum. Weights are finite and not zero.
    Sum(Vec<(f32, Expr<B>)>),
    Rule(Arc<dyn Rule<B>>, Vec<Expr<B>>),
}

/// A root of an evaluator: an expression, and the tokens that it is evaluated over.
pub(crate) struct Root<B: Backend> {
    pub(crate) name: String,
    pub(crate) expr: Expr<B>,
    /// The terms as the user wrote them: sums are written out, but no weights are added and no terms dropped.
    pub(crate) written: Vec<WrittenTerm<B>>,
    pub(crate) common: Common,
    /// The vocabularies of the models that it runs.
    pub(crate) vocabs: Vec<Arc<Vocab>>,
}

/// A term of a root as the user wrote it.
pub(crate) struct WrittenTerm<B: Backend> {
    pub(crate) name: String,
    /// `None` for a part of a rule that gives it no weight.
    pub(crate) weight: Option<f32>,
    pub(crate) expr: Expr<B>,
}

impl<B: Backend> Expr<B> {
    /// Calls `f` on each model, as often as it occurs.
    pub(crate) fn visit(&self, f: &mut impl FnMut(usize)) {
        match self {
            Self::Model(model) => f(*model),
            Self::Sum(terms) => terms.iter().for_each(|(_, e)| e.visit(f)),
            Self::Rule(_, parts) => parts.iter().for_each(|e| e.visit(f)),
        }
    }

    /// The distinct models, in the order in which they occur.
    pub(crate) fn models(&self) -> Vec<usize> {
        let mut models = Vec::new();
        self.visit(&mut |model| {
            if !models.contains(&model) {
                models.push(model);
            }
        });
        models
    }

    /// Whether the expression is a weighted sum of models, without any rule.
    pub(crate) fn is_linear(&self) -> bool {
        match self {
            Self::Model(_) => true,
            Self::Sum(terms) => terms.iter().all(|(_, e)| e.is_linear()),
            Self::Rule(..) => false,
        }
    }

    /// Lists the models, as often as they occur, and whether each is subtracted. Models inside a rule count as not
    /// subtracted, since what a rule does with their scores is not known.
    pub(crate) fn signs(&self, negative: bool, out: &mut Vec<(usize, bool)>) {
        match self {
            Self::Model(model) => out.push((*model, negative)),
            Self::Sum(terms) => terms.iter().for_each(|(w, e)| e.signs(negative != (*w < 0.0), out)),
            Self::Rule(_, parts) => parts.iter().for_each(|e| e.signs(false, out)),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Model(a), Self::Model(b)) => a == b,
            (Self::Rule(a, x), Self::Rule(b, y)) => {
                Arc::ptr_eq(a, b) && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.same(y))
            }
            (Self::Sum(x), Self::Sum(y)) => {
                x.len() == y.len() && x.iter().zip(y).all(|((v, x), (w, y))| v == w && x.same(y))
            }
            _ => false,
        }
    }

    /// Gives model `i` the index `to[i]`; a model without one is not run.
    pub(crate) fn renumber(&mut self, to: &[Option<usize>]) {
        match self {
            Self::Model(model) => *model = to[*model].unwrap_or(usize::MAX),
            Self::Sum(terms) => terms.iter_mut().for_each(|(_, e)| e.renumber(to)),
            Self::Rule(_, parts) => parts.iter_mut().for_each(|e| e.renumber(to)),
        }
    }
}

impl<B: Backend> Clone for Expr<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Model(model) => Self::Model(*model),
            Self::Sum(terms) => Self::Sum(terms.clone()),
            Self::Rule(rule, parts) => Self::Rule(rule.clone(), parts.clone()),
        }
    }
}
