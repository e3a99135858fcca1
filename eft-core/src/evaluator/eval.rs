//! Evaluating a root: rows of its streams, combined where they are.
use std::ops::Range;

use super::Evaluator;
use super::plan::{Expr, Root};
use crate::backend::{Backend, Edit, ScoreRow, Term, score_rows};
use crate::check;
use crate::scores::consecutive;
use crate::{Error, Form, Result, Scores, TokenId};

/// Rows of a part of an expression: some stream's, or computed.
enum Value<'a, B: Backend> {
    Rows(Vec<ScoreRow<'a, B>>),
    Computed(B::Tensor, usize),
}

impl<B: Backend> Value<'_, B> {
    fn rows(&self) -> Vec<ScoreRow<'_, B>> {
        match self {
            Self::Rows(rows) => rows.clone(),
            Self::Computed(tensor, rows) => score_rows(tensor, *rows),
        }
    }
}

/// What a term, as the user wrote it, says of some tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TermLogProbs {
    /// Its name.
    pub name: String,
    /// Its weight; `None` for a part of a rule that is no weighted sum.
    pub weight: Option<f32>,
    /// For each position asked for, its log-probabilities (natural log, over the common range) of the tokens asked
    /// for; `None` for a term that cancels and is not run (see
    /// [`OpenOptions::every_term`](super::OpenOptions::every_term)).
    pub log_probs: Option<Vec<Vec<f32>>>,
}

impl<B: Backend> Evaluator<B> {
    /// The scores of a root at the positions of each row, running only what is missing for them. An empty range
    /// asks nothing of a row.
    ///
    /// Scores are raw where the root is a weighted sum of models that all give raw logits, and normalised
    /// log-probabilities else; they are cut to the tokens that all terms share, and ids among those which stand
    /// for no token are excluded.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a range for each row, within what was pushed; [`Error::ContextFull`];
    /// [`Error::Forgotten`] for the prompt's own scores after [`commit`](Self::commit), of a model that cannot go
    /// back into its prompt to compute them again; [`Error::PartialRows`];
    /// failures of the models. The evaluator stays usable: what was pushed stays pushed, and the call can be made again.
    pub fn eval(&mut self, root: usize, at: &[Range<usize>]) -> Result<Scores<B>> {
        self.prepare(at)?;
        let streams = self.root(root)?.expr.streams();
        self.run(&streams, at)?;
        self.compute(self.root(root)?, at)
    }

    /// Runs what [`eval`](Self::eval) would run for the positions, save the models that `draft` runs and that share
    /// no pass with the root's others; computes nothing. A draft's row behind the last token it wrote costs a pass
    /// of its own, and is needed only if all of its tokens are accepted.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn run_without(&mut self, root: usize, draft: usize, at: &[Range<usize>]) -> Result<()> {
        self.prepare(at)?;
        let left_out = self.of_draft_alone(root, draft)?;
        let mut streams = self.root(root)?.expr.streams();
        streams.retain(|stream| !left_out.contains(stream));
        self.run(&streams, at)
    }

    /// The streams of a root that [`run_without`](Self::run_without) leaves out.
    pub(crate) fn of_draft_alone(&self, root: usize, draft: usize) -> Result<Vec<usize>> {
        let (streams, drafts) = (self.root(root)?.expr.streams(), self.root(draft)?.expr.streams());
        let session = |stream: &usize| self.streams[*stream].session;
        let shared: Vec<_> = streams.iter().filter(|s| !drafts.contains(s)).map(session).collect();
        Ok(streams.iter().copied().filter(|s| drafts.contains(s) && !shared.contains(&session(s))).collect())
    }

    /// The scores of a root from a position of each row to the last: after everything that was pushed.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn eval_from(&mut self, root: usize, from: &[usize]) -> Result<Scores<B>> {
        check::per_row("positions", self.rows(), from.len())?;
        let at: Vec<_> =
            from.iter().zip(&self.pushed).map(|(from, pushed)| *from..pushed.len() + 1).collect();
        self.eval(root, &at)
    }

    /// The scores of a root for the next token of each row.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn eval_last(&mut self, root: usize) -> Result<Scores<B>> {
        let at = self.last_positions();
        self.eval(root, &at)
    }

    /// What each term of a root says of tokens: `tokens` holds a list for each position of each row, in order.
    ///
    /// # Errors
    /// As [`eval`](Self::eval), and [`Error::TokenOutOfRange`].
    pub fn term_log_probs(
        &mut self,
        root: usize,
        at: &[Range<usize>],
        tokens: &[Vec<TokenId>],
    ) -> Result<Vec<TermLogProbs>> {
        self.prepare(at)?;
        check::per_row("lists of tokens", at.iter().map(Range::len).sum(), tokens.len())?;
        let mut streams: Vec<_> = self.root(root)?.written.iter().flat_map(|w| w.expr.streams()).collect();
        streams.retain(|s| *s < self.streams.len());
        self.run(&streams, at)?;
        let root = self.root(root)?;
        let width = root.common.width;
        let rows = at.iter().enumerate().flat_map(|(row, at)| at.clone().map(move |_| row));
        for (row, tokens) in rows.zip(tokens) {
            check::within(&root.name, row, tokens, width)?;
        }
        root.written
            .iter()
            .map(|term| {
                let runs = term.expr.streams().iter().all(|s| *s < self.streams.len());
                let log_probs = runs.then(|| {
                    let value = self.value(&term.expr, at, width)?;
                    self.backend.log_probs(&value.rows(), tokens, width)
                });
                Ok(TermLogProbs {
                    name: term.name.clone(),
                    weight: term.weight,
                    log_probs: log_probs.transpose()?,
                })
            })
            .collect()
    }

    fn prepare(&self, at: &[Range<usize>]) -> Result<()> {
        self.healthy()?;
        check::per_row("positions", self.rows(), at.len())?;
        for (row, (at, pushed)) in at.iter().zip(&self.pushed).enumerate() {
            if !at.is_empty() && at.end > pushed.len() + 1 {
                let expected = format!("at most {}", pushed.len());
                return Err(Error::shape(format!("positions of row {row}"), expected, at.end - 1));
            }
        }
        Ok(())
    }

    fn compute(&self, root: &Root<B>, at: &[Range<usize>]) -> Result<Scores<B>> {
        let width = root.common.width;
        let forms: Vec<_> =
            root.expr.streams().iter().map(|s| (*s, self.streams[*s].scores.form())).collect();
        let partial: Vec<_> = forms.iter().filter(|(_, f)| *f == Form::Partial).map(|(s, _)| *s).collect();
        let raw = root.expr.rule().is_none() && forms.iter().all(|(_, f)| *f == Form::Logits);
        let form = match (partial.is_empty(), raw) {
            (false, _) => Form::Partial,
            (true, true) => Form::Logits,
            (true, false) => Form::LogProbs,
        };
        let spans = consecutive(at.iter().map(Range::len));
        let next = spans.last().map_or(0, |span| span.end);
        if next == 0 {
            return Ok(Scores::none(at.len(), width, form));
        }
        if let Some(scores) = self.alias(root, at) {
            return Ok(scores);
        }
        let mut value = self.value(&root.expr, at, width)?;
        if !root.common.holes.is_empty() {
            let excluded = root.common.holes.iter().map(|id| (*id, f32::NEG_INFINITY)).collect();
            let edits = vec![vec![Edit::Bias(excluded)]; next];
            value = Value::Computed(self.backend.edit(&value.rows(), &edits, width)?, next);
        }
        let known_mass = self.known_mass(&value, &partial, at, width)?;
        let tensor = match value {
            Value::Computed(tensor, _) if raw => tensor,
            value if raw => self.backend.linear(&[Term { weight: 1.0, rows: value.rows() }], width)?,
            value => self.backend.log_softmax(&value.rows(), width)?,
        };
        Ok(Scores::new(tensor, spans, width, form).with_known_mass(known_mass))
    }

    /// A single model's scores need no computing where they lie in one tensor: the same memory is returned.
    fn alias(&self, root: &Root<B>, at: &[Range<usize>]) -> Option<Scores<B>> {
        let Expr::Stream(stream) = root.expr else { return None };
        let store = &self.streams[stream].scores;
        if !root.common.holes.is_empty() || store.form() == Form::Partial {
            return None;
        }
        let mut chunk = None;
        let mut spans = Vec::new();
        for (row, at) in at.iter().enumerate() {
            let mut span = 0..0;
            for position in at.clone() {
                let (found, index) = store.place(row, position)?;
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
        let tensor = self.backend.shallow_clone(scores.tensor()?);
        Some(Scores::new(tensor, spans, root.common.width, scores.form()))
    }

    /// The rows of an expression, one after another for the positions of each row of the batch.
    fn value(&self, expr: &Expr<B>, at: &[Range<usize>], width: usize) -> Result<Value<'_, B>> {
        let count = at.iter().map(Range::len).sum();
        match expr {
            Expr::Stream(stream) => Ok(Value::Rows(self.stream_rows(*stream, at)?)),
            Expr::Sum(terms) => {
                let values =
                    terms.iter().map(|(_, e)| self.value(e, at, width)).collect::<Result<Vec<_>>>()?;
                let weighted = terms.iter().zip(&values);
                let weighted: Vec<_> =
                    weighted.map(|((weight, _), v)| Term { weight: *weight, rows: v.rows() }).collect();
                let mut sum = self.backend.linear(&weighted, width)?;
                // On tokens that a black box does not know, −∞ is no score but a gap: the sum is cut to what all
                // terms know.
                for (_, term) in terms {
                    if let Expr::Stream(stream) = term
                        && self.streams[*stream].scores.form() == Form::Partial
                    {
                        let known = self.stream_rows(*stream, at)?;
                        sum = self.backend.choose(&known, &score_rows(&sum, count), None, width)?;
                    }
                }
                Ok(Value::Computed(sum, count))
            }
            Expr::Rule(rule, parts) => {
                let mut normalised = Vec::new();
                for part in parts {
                    for stream in part.streams() {
                        let stream = &self.streams[stream];
                        if stream.scores.form() == Form::Partial {
                            return Err(Error::PartialRows { rule: rule.name(), term: stream.name.clone() });
                        }
                    }
                    normalised.push(self.backend.log_softmax(&self.value(part, at, width)?.rows(), width)?);
                }
                let rows: Vec<_> = normalised.iter().map(|t| score_rows(t, count)).collect();
                let tensor = rule.apply(&self.backend, &rows, width)?;
                let got = self.backend.shape(&tensor);
                if got.0 < count || got.1 < width {
                    let what = format!("what the rule `{}` returned", rule.name());
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

    fn stream_rows(&self, stream: usize, at: &[Range<usize>]) -> Result<Vec<ScoreRow<'_, B>>> {
        let store = &self.streams[stream].scores;
        let positions = at.iter().enumerate().flat_map(|(row, at)| at.clone().map(move |p| (row, p)));
        positions
            .map(|(row, position)| store.get(row, position).ok_or(Error::Forgotten { row, position }))
            .collect()
    }

    /// The mass that the black boxes give to the tokens that are left: the least of any of them.
    fn known_mass(
        &self,
        value: &Value<'_, B>,
        partial: &[usize],
        at: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<f32>> {
        let mut known_mass: Vec<f32> = Vec::new();
        for &stream in partial {
            let rows = self.stream_rows(stream, at)?;
            let left = self.backend.choose(&value.rows(), &rows, None, width)?;
            let mass = self
                .backend
                .log_normalizers(&score_rows(&left, rows.len()), width)?
                .into_iter()
                .map(f32::exp);
            known_mass = match known_mass.is_empty() {
                true => mass.collect(),
                false => known_mass.iter().zip(mass).map(|(a, b)| a.min(b)).collect(),
            };
        }
        Ok(known_mass)
    }
}
