//! Plans which models must run for combinations and prompts: each model renders the prompts, sums are flattened, equal
//! terms are added up, and terms that are the same model on the same token ids share its rows.
use std::borrow::Cow;
use std::sync::Arc;

use super::expr::{Expr, Root, WrittenTerm};
use super::model::{Inputs, Model, PlannedModel};
use crate::backend::Backend;
use crate::prompt::Renderer;
use crate::source::{Leaf, Node, check_weight};
use crate::vocab::Common;
use crate::{Error, Prompt, Result, Source, TokenId};

/// The models that must run for a set of roots, and the roots as expressions over them.
pub(crate) struct Plan<B: Backend> {
    pub(crate) models: Vec<PlannedModel<B>>,
    pub(crate) roots: Vec<Root<B>>,
    pub(crate) leaves: LeafModels,
}

/// What the leaves of a set of roots are given for prompts, before it is decided which models must run.
pub(crate) struct Leaves<B: Backend> {
    /// The distinct models, including those that no root needs because their weights cancel.
    models: Vec<PlannedModel<B>>,
    /// For each leaf, in the order in which the roots are walked, its model. The walk is the same for all prompts.
    visits: Vec<usize>,
    roots: Vec<Root<B>>,
}

/// The models that the leaves of a set of roots use.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeafModels {
    /// For each leaf, the index of its model among all that the leaves have.
    visits: Vec<usize>,
    /// For each of these models, its index among the models that run; `None` if it is not run.
    run: Vec<Option<usize>>,
}

impl<B: Backend> Leaves<B> {
    /// Renders `prompts` for each leaf of `sources`.
    pub(crate) fn new(sources: &[Source<B>], prompts: &[Prompt]) -> Result<Self> {
        if prompts.is_empty() {
            return Err(Error::EmptyBatch { what: "open" });
        }
        if sources.is_empty() {
            return Err(Error::shape("roots of an evaluator", "at least one", 0));
        }
        let mut planner = Planner { models: Vec::new(), visits: Vec::new(), rendered: Vec::new() };
        let roots = sources.iter().map(|s| planner.root(s, prompts)).collect::<Result<Vec<Root<B>>>>()?;
        Ok(Self { models: planner.models, visits: planner.visits, roots })
    }

    /// Checks that the prompts fit the models that must run for them, without running any.
    pub(crate) fn check(&self, every_term: bool) -> Result<()> {
        let used = self.used(every_term);
        self.models.iter().zip(used).filter(|(_, used)| *used).try_for_each(|(model, _)| model.check())
    }

    /// Whether the models that run are those of all terms as they were written: no term cancels.
    pub(crate) fn runs_every_term(&self) -> bool {
        self.used(false) == self.used(true)
    }

    /// Whether each model must run. With `every_term`, models that only cancelled terms need must run as well.
    fn used(&self, every_term: bool) -> Vec<bool> {
        let mut used = vec![false; self.models.len()];
        for root in &self.roots {
            root.expr.visit(&mut |m| used[m] = true);
            if every_term {
                root.written.iter().for_each(|w| w.expr.visit(&mut |m| used[m] = true));
            }
        }
        used
    }
}

impl LeafModels {
    /// What each model that runs would be given for the prompts of `other`, in the order of the models. `None` if leaves
    /// that share a model here are given different things there, so that they would need models of their own.
    pub(crate) fn inputs<'a, B: Backend>(&self, other: &'a Leaves<B>) -> Option<Vec<&'a Inputs>> {
        let mut of_model = vec![None; self.run.len()];
        for (model, theirs) in self.visits.iter().zip(&other.visits) {
            if *of_model[*model].get_or_insert(*theirs) != *theirs {
                return None;
            }
        }
        let run = self.run.iter().zip(of_model).filter(|(run, _)| run.is_some());
        run.map(|(_, theirs)| Some(&other.models[theirs?].inputs)).collect()
    }
}

impl<B: Backend> Plan<B> {
    /// Plans `sources` on `prompts`. With `every_term`, models that only cancelled terms need are kept as well.
    pub(crate) fn new(sources: &[Source<B>], prompts: &[Prompt], every_term: bool) -> Result<Self> {
        let leaves = Leaves::new(sources, prompts)?;
        let used = leaves.used(every_term);
        let Leaves { models, visits, mut roots } = leaves;
        let mut next = 0..;
        let run: Vec<_> = used.iter().map(|used| if *used { next.next() } else { None }).collect();
        let models: Vec<_> =
            models.into_iter().zip(&used).filter(|(_, used)| **used).map(|(m, _)| m).collect();
        for root in &mut roots {
            root.expr.renumber(&run);
            root.written.iter_mut().for_each(|w| w.expr.renumber(&run));
            root.vocabs = root.expr.models().iter().map(|m| models[*m].model.vocab().clone()).collect();
            root.common = Common::of(&root.vocabs)?;
        }
        Ok(Self { models, roots, leaves: LeafModels { visits, run } })
    }
}

struct Planner<B: Backend> {
    models: Vec<PlannedModel<B>>,
    /// The model of each leaf so far.
    visits: Vec<usize>,
    /// What has been rendered so far: roots over the same models render the same prompts.
    rendered: Vec<Rendered>,
}

/// The token ids that a renderer made of prompts.
struct Rendered {
    renderer: Arc<dyn Renderer>,
    prompts: Vec<Prompt>,
    ids: Vec<Vec<TokenId>>,
}

/// A term of a sum that is written out.
struct FlatTerm<B: Backend> {
    name: String,
    weight: f64,
    expr: Expr<B>,
    /// The names of a rule's parts.
    parts: Vec<String>,
}

/// A source that is still to be flattened.
struct Pending<'a, B: Backend> {
    source: &'a Source<B>,
    /// The product of the weights of all sums around it.
    weight: f64,
    prompts: Cow<'a, [Prompt]>,
    /// The name of the outermost of the prompt transforms directly around it, which is reported as its term's name.
    /// `None` if there is no transform directly around it, or if it is a sum: the terms of a sum keep their own names.
    name: Option<String>,
}

impl<B: Backend> Planner<B> {
    fn root(&mut self, source: &Source<B>, prompts: &[Prompt]) -> Result<Root<B>> {
        source.check_extent()?;
        let name = source.name();
        let terms = self.flatten(source, prompts)?;
        let expr = fold(&name, &terms)?;
        let written = match &terms[..] {
            // A rule alone is reported by its parts.
            [FlatTerm { expr: Expr::Rule(rule, parts), parts: names, weight: 1.0, .. }] => names
                .iter()
                .zip(parts)
                .enumerate()
                .map(|(i, (name, expr))| WrittenTerm {
                    name: name.clone(),
                    weight: rule.weight(i),
                    expr: expr.clone(),
                })
                .collect(),
            _ => terms
                .iter()
                .map(|t| WrittenTerm {
                    name: t.name.clone(),
                    weight: Some(t.weight as f32),
                    expr: t.expr.clone(),
                })
                .collect(),
        };
        Ok(Root { name, expr, written, common: Common::default(), vocabs: Vec::new() })
    }

    /// The terms of a source once its sums are written out. Recurses into the parts of rules only.
    fn flatten(&mut self, source: &Source<B>, prompts: &[Prompt]) -> Result<Vec<FlatTerm<B>>> {
        let mut terms = Vec::new();
        let mut stack = vec![Pending { source, weight: 1.0, prompts: prompts.into(), name: None }];
        while let Some(Pending { source, weight, prompts, name }) = stack.pop() {
            let name = || name.clone().unwrap_or_else(|| source.name());
            match source.node() {
                Node::Sum(sum) => {
                    for (w, source) in sum.iter().rev() {
                        check_weight(*w, source)?;
                        check_weight(weight * w, source)?;
                        let prompts = prompts.clone();
                        stack.push(Pending { source, weight: weight * w, prompts, name: None });
                    }
                }
                Node::Under(transform, inner) => {
                    let prompts = prompts.iter().map(|p| transform.apply(p)).collect::<Result<Vec<_>>>()?;
                    // The name of a sum under another prompt would hide its terms.
                    let name = (!matches!(inner.node(), Node::Sum(_))).then(name);
                    stack.push(Pending { source: inner, weight, prompts: prompts.into(), name });
                }
                Node::Leaf(leaf) => {
                    let name = name();
                    let inputs = Inputs::Ids(self.render(leaf, &name, &prompts)?);
                    let model = Model::Engine { engine: leaf.engine.clone(), adapter: leaf.adapter };
                    let expr = Expr::Model(self.model(model, inputs, &name));
                    terms.push(FlatTerm { weight, expr, name, parts: Vec::new() });
                }
                Node::Opaque(opaque) => {
                    let name = name();
                    let inputs = Inputs::Prompts(prompts.to_vec());
                    let expr = Expr::Model(self.model(Model::Opaque(opaque.clone()), inputs, &name));
                    terms.push(FlatTerm { weight, expr, name, parts: Vec::new() });
                }
                Node::Rule(rule, parts) => {
                    let names = parts.iter().map(Source::name).collect();
                    let planned = parts.iter().map(|part| {
                        let terms = self.flatten(part, &prompts)?;
                        fold(&part.name(), &terms)
                    });
                    let expr = Expr::Rule(rule.clone(), planned.collect::<Result<_>>()?);
                    terms.push(FlatTerm { weight, expr, name: name(), parts: names });
                }
            }
        }
        Ok(terms)
    }

    fn render(&mut self, leaf: &Leaf<B>, name: &str, prompts: &[Prompt]) -> Result<Vec<Vec<TokenId>>> {
        let known =
            self.rendered.iter().find(|r| Arc::ptr_eq(&r.renderer, &leaf.renderer) && r.prompts == prompts);
        if let Some(known) = known {
            return Ok(known.ids.clone());
        }
        let rendered = prompts.iter().enumerate().map(|(row, prompt)| {
            let ids = leaf.renderer.render(name, prompt)?;
            match ids.is_empty() {
                true => Err(Error::EmptyPrompt { term: name.into(), row }),
                false => Ok(ids),
            }
        });
        let ids: Vec<_> = rendered.collect::<Result<_>>()?;
        let (renderer, prompts) = (leaf.renderer.clone(), prompts.to_vec());
        self.rendered.push(Rendered { renderer, prompts, ids: ids.clone() });
        Ok(ids)
    }

    /// The index of a model on some prompts.
    fn model(&mut self, model: Model<B>, inputs: Inputs, name: &str) -> usize {
        let known = self.models.iter().position(|m| m.model.same(&model) && m.inputs == inputs);
        let index = known.unwrap_or(self.models.len());
        if known.is_none() {
            self.models.push(PlannedModel { model, inputs, name: name.into() });
        }
        self.visits.push(index);
        index
    }
}

/// Adds the weights of equal terms and drops terms whose weight comes to zero.
fn fold<B: Backend>(name: &str, terms: &[FlatTerm<B>]) -> Result<Expr<B>> {
    struct Folded<'a, B: Backend> {
        expr: &'a Expr<B>,
        sum: f64,
        magnitude: f64,
    }
    let mut folded: Vec<Folded<'_, B>> = Vec::new();
    for FlatTerm { weight, expr, .. } in terms {
        match folded.iter_mut().find(|f| f.expr.same(expr)) {
            Some(f) => {
                f.sum += weight;
                f.magnitude += weight.abs();
            }
            None => folded.push(Folded { expr, sum: *weight, magnitude: weight.abs() }),
        }
    }
    // λ and 1 − λ in f32 need not sum to exactly 1: the difference is rounding error, and not worth a forward pass.
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
