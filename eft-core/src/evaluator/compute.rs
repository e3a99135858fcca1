//! The scores of a root from those of its models, combined in the memory where they are.
use std::ops::Range;

use super::Evaluator;
use super::expr::{Expr, Root};
use super::state::ModelRows;
use crate::backend::{Backend, Edit, ScoreRow, Term, score_rows};
use crate::scores::{Coverage, consecutive};
use crate::vocab::Common;
use crate::{Error, Form, Result, Scores, TokenId};

/// The bias of [unassigned](crate::Vocab::unassigned) ids before a rule sees them: their probability is 0 in single
/// precision, and unlike −∞ the bias stays finite where the rule subtracts it.
const UNASSIGNED_BIAS: f32 = -1e30;

/// The score rows of a part of an expression: those of a model, or computed.
pub(super) enum Value<'a, B: Backend> {
    Rows(Vec<ScoreRow<'a, B>>),
    Computed(B::Tensor, usize),
}

impl<B: Backend> Value<'_, B> {
    pub(super) fn rows(&self) -> Vec<ScoreRow<'_, B>> {
        match self {
            Self::Rows(rows) => rows.clone(),
            Self::Computed(tensor, rows) => score_rows(tensor, *rows),
        }
    }
}

impl<B: Backend> Evaluator<B> {
    /// The scores of a root at positions at which all of its models have scores.
    pub(super) fn compute(&self, root: &Root<B>, at: &[Range<usize>]) -> Result<Scores<B>> {
        let width = root.common.width;
        let forms: Vec<_> = root.expr.models().iter().map(|m| (*m, self.models[*m].scores.form())).collect();
        let partial: Vec<_> = forms.iter().filter(|(_, f)| *f == Form::Partial).map(|(m, _)| *m).collect();
        let raw = root.expr.is_linear() && forms.iter().all(|(_, f)| *f == Form::Logits);
        let form = match (partial.is_empty(), raw) {
            (false, _) => Form::Partial,
            (true, true) => Form::Logits,
            (true, false) => Form::LogProbs,
        };
        let count = at.iter().map(Range::len).sum();
        if count == 0 {
            return Ok(Scores::none(at.len(), width, form));
        }
        if let Some(scores) = self.alias(root, at) {
            return Ok(scores);
        }
        let mut value = self.value(&root.expr, at, &root.common)?;
        if !root.common.unassigned.is_empty() {
            let tensor = self.bias_unassigned(&value.rows(), &root.common, f32::NEG_INFINITY)?;
            value = Value::Computed(tensor, count);
        }
        let coverage = self.coverage(&value, &root.expr, &partial, at, width)?;
        let tensor = match value {
            Value::Computed(tensor, _) if raw => tensor,
            value if raw => self.backend.linear(&[Term { weight: 1.0, rows: value.rows() }], width)?,
            value => self.backend.log_softmax(&value.rows(), width)?,
        };
        let spans = consecutive(at.iter().map(Range::len));
        Ok(Scores::new(tensor, spans, width, form).with_coverage(coverage))
    }

    /// The scores with a bias added to the unassigned ids.
    fn bias_unassigned(&self, rows: &[ScoreRow<'_, B>], common: &Common, bias: f32) -> Result<B::Tensor> {
        let biases: Vec<(TokenId, f32)> = common.unassigned.iter().map(|id| (*id, bias)).collect();
        let edits = vec![vec![Edit::Bias(biases)]; rows.len()];
        self.backend.edit(rows, &edits, common.width)
    }

    /// The scores of a single model without a copy, if nothing has to be computed and they lie in one tensor.
    fn alias(&self, root: &Root<B>, at: &[Range<usize>]) -> Option<Scores<B>> {
        let Expr::Model(model) = root.expr else { return None };
        let (store, width) = (&self.models[model].scores, root.common.width);
        if !root.common.unassigned.is_empty() || store.form() == Form::Partial {
            return None;
        }
        let mut chunk = None;
        let mut spans = Vec::new();
        for (row, at) in at.iter().enumerate() {
            let mut span = 0..0;
            for position in at.clone() {
                let (found, index) = store.locate(row, position)?;
                if span.is_empty() {
                    span = index..index;
                }
                if *chunk.get_or_insert(found) != found || span.end != index {
                    return None;
                }
                span.end += 1;
            }
            spans.push(span);
        }
        let scores = store.chunk(chunk?)?;
        // Log-probabilities over more tokens than the common ones must be normalised again over those.
        if scores.form() == Form::LogProbs && scores.width() > width {
            return None;
        }
        let tensor = self.backend.shallow_clone(scores.tensor()?);
        Some(Scores::new(tensor, spans, width, scores.form()))
    }

    /// The score rows of an expression, in the order of the rows of the batch and of their positions.
    pub(super) fn value(&self, expr: &Expr<B>, at: &[Range<usize>], common: &Common) -> Result<Value<'_, B>> {
        let width = common.width;
        let count = at.iter().map(Range::len).sum();
        match expr {
            Expr::Model(model) => Ok(Value::Rows(self.rows_of_model(*model, at)?)),
            Expr::Sum(terms) => {
                let values =
                    terms.iter().map(|(_, e)| self.value(e, at, common)).collect::<Result<Vec<_>>>()?;
                let weighted = terms.iter().zip(&values);
                let weighted: Vec<_> =
                    weighted.map(|((weight, _), v)| Term { weight: *weight, rows: v.rows() }).collect();
                let mut sum = self.backend.linear(&weighted, width)?;
                // A black box's −∞ means that the score is unknown, so the sum is masked to the tokens that all terms
                // know, whatever the signs of their weights.
                for (_, term) in terms {
                    if let Expr::Model(model) = term
                        && self.models[*model].scores.form() == Form::Partial
                    {
                        let known = self.rows_of_model(*model, at)?;
                        sum = self.backend.choose(&known, &score_rows(&sum, count), None, width)?;
                    }
                }
                Ok(Value::Computed(sum, count))
            }
            Expr::Rule(rule, parts) => {
                let mut normalised = Vec::new();
                for part in parts {
                    for model in part.models() {
                        let model = &self.models[model];
                        if model.scores.form() == Form::Partial {
                            return Err(Error::PartialRows { rule: rule.name(), term: model.name.clone() });
                        }
                    }
                    let mut value = self.value(part, at, common)?;
                    if !common.unassigned.is_empty() {
                        value = Value::Computed(
                            self.bias_unassigned(&value.rows(), common, UNASSIGNED_BIAS)?,
                            count,
                        );
                    }
                    normalised.push(self.backend.log_softmax(&value.rows(), width)?);
                }
                let rows: Vec<_> = normalised.iter().map(|t| score_rows(t, count)).collect();
                let tensor = rule.apply(&self.backend, &rows, width)?;
                let got = self.backend.shape(&tensor);
                if got.0 < count || got.1 < width {
                    let what = format!("scores that the rule `{}` returned", rule.name());
                    return Err(Error::shape(
                        what,
                        format!("{count} × {width}"),
                        format!("{} × {}", got.0, got.1),
                    ));
                }
                Ok(Value::Computed(tensor, count))
            }
        }
    }

    /// The stored score rows of a model.
    fn rows_of_model(&self, model: usize, at: &[Range<usize>]) -> Result<Vec<ScoreRow<'_, B>>> {
        let store = &self.models[model].scores;
        let positions = at.iter().enumerate().flat_map(|(row, at)| at.clone().map(move |p| (row, p)));
        positions
            .map(|(row, position)| store.get(row, position).ok_or(Error::Forgotten { row, position }))
            .collect()
    }

    /// What is known about each position: the probability mass that black boxes give to the tokens that have a score,
    /// the least of any of them. What a black box says of its own scores holds for these if there is nothing else in
    /// the expression.
    fn coverage(
        &self,
        value: &Value<'_, B>,
        expr: &Expr<B>,
        partial: &[usize],
        at: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<Coverage>> {
        let mut coverage: Vec<Coverage> = Vec::new();
        for &model in partial {
            let rows = self.rows_of_model(model, at)?;
            let left = self.backend.choose(&value.rows(), &rows, None, width)?;
            let left = self.backend.log_normalizers(&score_rows(&left, rows.len()), width)?;
            let ModelRows { model, scores, .. } = &self.models[model];
            let positions = at.iter().enumerate().flat_map(|(row, at)| at.clone().map(move |p| (row, p)));
            let reported: Vec<_> = positions.map(|(row, p)| scores.coverage(row, p)).collect();
            // A source that is itself a combination reports how much its black boxes know, and its scores are normalised
            // over that. So the tokens that are left have a share of the reported mass.
            let all = match reported.iter().any(Option::is_some) {
                true => self.backend.log_normalizers(&rows, model.vocab().real())?,
                false => vec![0.0; rows.len()],
            };
            let mass =
                reported.iter().zip(left.iter().zip(&all)).map(|(reported, (left, all))| match reported {
                    Some(reported) if *left > f32::NEG_INFINITY => reported.known_mass * (left - all).exp(),
                    _ => left.exp(),
                });
            coverage = match (expr, coverage.is_empty()) {
                (Expr::Model(_), _) => {
                    let with = |(mass, of_model): (f32, &Option<Coverage>)| Coverage {
                        known_mass: mass,
                        ..of_model.unwrap_or(Coverage::new(mass))
                    };
                    mass.zip(&reported).map(with).collect()
                }
                (_, true) => mass.map(Coverage::new).collect(),
                (_, false) => {
                    coverage.iter().zip(mass).map(|(a, b)| Coverage::new(a.known_mass.min(b))).collect()
                }
            };
        }
        Ok(coverage)
    }
}
