//! Adding rows to an open evaluator.
use std::ops::Range;
use std::sync::Arc;

use super::Evaluator;
use super::expr::Root;
use super::grow::{GrowError, Grown, Growth, Origin, shares_session};
use super::model::PlannedModel;
use super::open::{groups, unopened};
use super::parked::Parked;
use super::parts::Parts;
use super::plan::{LeafModels, Leaves, Plan};
use super::state::OpenSession;
use super::threads::for_each;
use crate::backend::Backend;
use crate::error::{in_row, with_sources};
use crate::{EngineRow, Error, Prompt, Result};

/// What an evaluator runs once more rows have joined.
struct Joined<B: Backend> {
    /// The models with the prompts of all rows.
    models: Vec<PlannedModel<B>>,
    /// For each of them, the model that has read the prompts of the old rows, if one has.
    from: Vec<Option<usize>>,
    /// The models of each session.
    groups: Vec<Vec<usize>>,
    /// The roots, if they are other expressions than before.
    roots: Option<(Vec<Root<B>>, LeafModels)>,
}

/// A session that is to get more rows.
struct Job<'a, B: Backend> {
    /// The session as it is, but for its rows, and its index; `None` if there is none yet.
    before: Option<Before>,
    session: Parts<B>,
    growth: Growth<'a, B>,
}

/// A session before it gets more rows.
struct Before {
    index: usize,
    models: Vec<usize>,
    parked: Vec<Parked>,
}

/// A session that has got more rows, or has failed to.
struct Outcome<B: Backend> {
    /// As in its [`Job`].
    before: Option<Before>,
    session: Parts<B>,
    grown: Result<Grown<B>, GrowError>,
}

impl<B: Backend> Evaluator<B> {
    /// Adds a row for each prompt after the rows that there are, and makes the models read the prompts. Returns the new rows,
    /// at the ends of their prompts. The other rows stay as they are.
    ///
    /// Each prompt continues from a copy of the row that shares the longest prefix with it, so a system prompt that several
    /// rows share is read once. Opaque sources, and models that cannot roll back far enough
    /// ([`Session::rollback_limit`](crate::Session::rollback_limit)), are opened on the new prompts, and take a pass of their
    /// own for these rows from then on.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0, 1].into()])?;
    /// evaluator.push(&[vec![1]])?;
    /// assert_eq!(evaluator.join(&[vec![0, 1, 1, 0].into()])?, 1..2);
    /// assert_eq!((evaluator.rows(), evaluator.pushed(0), evaluator.pushed(1)), (2, &[1][..], &[][..]));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), such as a prompt that cannot be rendered or is too long, or a failure of a
    /// model. They count the new rows after the old ones. The evaluator is as it was before the call, unless a model that
    /// failed cannot drop the new rows again; that poisons it.
    pub fn join(&mut self, prompts: &[Prompt]) -> Result<Range<usize>> {
        let rows = self.rows();
        let plan = |(index, prompt)| self.plan_row(prompt).map_err(|error| in_row(error, |_| rows + index));
        let planned = prompts.iter().enumerate().map(plan).collect::<Result<Vec<_>>>()?;
        self.join_planned(&prompts.iter().zip(&planned).collect::<Vec<_>>())
    }

    /// Renders a prompt for all leaves of the roots, and checks that the models accept it, without running any.
    ///
    /// # Errors
    /// The error that [`open`](Self::open) would return for this prompt alone.
    pub(crate) fn plan_row(&self, prompt: &Prompt) -> Result<Leaves<B>> {
        let leaves = Leaves::new(&self.sources, std::slice::from_ref(prompt))?;
        leaves.check(self.options.every_term)?;
        Ok(leaves)
    }

    /// Whether the models of all terms run in a row of a prompt that has been planned, also those of terms that cancel.
    pub(crate) fn runs_every_term(&self, leaves: &Leaves<B>) -> bool {
        self.options.every_term || leaves.runs_every_term()
    }

    /// Adds rows as [`join`](Self::join) does, for prompts that have been planned.
    pub(crate) fn join_planned(&mut self, rows: &[(&Prompt, &Leaves<B>)]) -> Result<Range<usize>> {
        self.check_poison()?;
        if rows.is_empty() {
            return Err(Error::EmptyBatch { what: "join" });
        }
        let joined = self.joined(rows)?;
        joined.models.iter().try_for_each(PlannedModel::check)?;
        let (old, new) = (self.rows(), self.rows() + rows.len());
        let held: Vec<_> = (0..self.sessions.len()).map(|session| self.held_by(session)).collect();
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_iter().map(Some).collect();
        // A model that panics leaves the evaluator without sessions.
        self.poison = Some("rows were joining it".into());
        self.clock += 1;
        let jobs = joined.groups.iter().map(|group| self.job(group, &joined, &mut sessions, &held, new));
        let jobs = jobs.collect();
        let outcomes = for_each(jobs, self.options.parallel, |mut job: Job<'_, B>| {
            let grown = job.growth.run(&mut job.session);
            Outcome { before: job.before, session: job.session, grown }
        });
        if outcomes.iter().any(|outcome| outcome.grown.is_err()) {
            return Err(self.put_back(sessions, outcomes).of_session(new));
        }
        self.poison = None;
        self.take_over(joined, outcomes, old);
        self.prompts.extend(rows.iter().map(|(prompt, _)| Arc::new((*prompt).clone())));
        self.pushed.resize(new, Vec::new());
        Ok(old..new)
    }

    /// Plans the models for the rows that there are and those that join.
    fn joined(&self, rows: &[(&Prompt, &Leaves<B>)]) -> Result<Joined<B>> {
        let inputs: Option<Vec<_>> = rows.iter().map(|(_, leaves)| self.leaves.inputs(leaves)).collect();
        if let Some(inputs) = inputs {
            let models = self.models.iter().enumerate().map(|(index, model)| {
                let mut all = model.inputs.clone();
                inputs.iter().for_each(|of_row| all.extend(of_row[index]));
                PlannedModel { model: model.model.clone(), inputs: all, name: model.name.clone() }
            });
            let from = (0..self.models.len()).map(Some).collect();
            let groups = self.sessions.iter().map(|open| open.models.clone()).collect();
            return Ok(Joined { models: models.collect(), from, groups, roots: None });
        }
        // Terms that have been one model so far, because they render all prompts in the same way, become two.
        let old = self.prompts.iter().map(|prompt| &**prompt);
        let prompts: Vec<_> = old.chain(rows.iter().map(|(prompt, _)| *prompt)).cloned().collect();
        let plan = Plan::new(&self.sources, &prompts, self.options.every_term)?;
        let from = |planned: &PlannedModel<B>| {
            let read = planned.inputs.first(self.rows());
            self.models.iter().position(|old| old.model.same(&planned.model) && old.inputs == read)
        };
        let from = plan.models.iter().map(from).collect();
        let groups = groups(&plan.models);
        Ok(Joined { models: plan.models, from, groups, roots: Some((plan.roots, plan.leaves)) })
    }

    /// What is to be done for one session. It is taken from `sessions`, if there is one that the models can share. `held` has
    /// what the rows of each hold.
    fn job<'a>(
        &self,
        group: &[usize],
        joined: &'a Joined<B>,
        sessions: &mut [Option<OpenSession<B>>],
        held: &[Vec<EngineRow>],
        new: usize,
    ) -> Job<'a, B> {
        let old = self.rows();
        let first = &joined.models[group[0]].model;
        let of_models = |open: &OpenSession<B>| {
            let mut from = group.iter().filter_map(|m| joined.from[*m]);
            shares_session(&self.models[open.models[0]].model, first)
                && from.any(|model| open.models.contains(&model))
        };
        let before = sessions.iter().position(|open| open.as_ref().is_some_and(of_models));
        let open = before.and_then(|index| sessions[index].take());
        let origins = group.iter().enumerate().flat_map(|(block, model)| {
            let held = joined.from[*model].filter(|_| before.is_some());
            (0..new).map(move |row| match held {
                Some(held) if row < old => Origin::Held(self.models[held].block * old + row),
                _ => Origin::New { block, row },
            })
        });
        let origins = origins.collect();
        let group = group.iter().map(|model| &joined.models[*model]).collect();
        let Some((index, open)) = before.zip(open) else {
            let growth = Growth { group, rows: 0, held: Vec::new(), reading: Vec::new(), origins };
            return Job { before: None, session: Parts::none(self.backend.clone()), growth };
        };
        let OpenSession { session, models, parked } = open;
        let rows = models.len() * old;
        let reading = parked.iter().enumerate().filter(|(_, parked)| parked.reading.is_some());
        let reading = reading.map(|(i, _)| rows + i).collect();
        let growth = Growth { group, rows, held: held[index].clone(), reading, origins };
        Job { before: Some(Before { index, models, parked }), session, growth }
    }

    /// Makes the sessions again what they were before some of them failed to grow, and returns the first error.
    fn put_back(&mut self, mut sessions: Vec<Option<OpenSession<B>>>, outcomes: Vec<Outcome<B>>) -> Error {
        let (mut first, mut lost) = (None, None);
        for Outcome { before, mut session, grown } in outcomes {
            let left = match grown {
                Ok(grown) => {
                    if let Err(error) = grown.undo(&mut session) {
                        lost.get_or_insert_with(|| with_sources(&error));
                    }
                    grown.parked
                }
                Err(GrowError { error, lost: of_session, parked }) => {
                    if of_session {
                        lost.get_or_insert_with(|| with_sources(&error));
                    }
                    first.get_or_insert(*error);
                    parked
                }
            };
            if let Some(Before { index, models, parked }) = before {
                let parked = left.into_iter().map(|row| parked[row].clone()).collect();
                sessions[index] = Some(OpenSession { session, models, parked });
            }
        }
        self.sessions = sessions.into_iter().flatten().collect();
        self.poison = lost;
        first.unwrap_or(Error::EmptyBatch { what: "join" })
    }

    /// Takes over sessions that have grown; there were `old` rows before.
    fn take_over(&mut self, joined: Joined<B>, outcomes: Vec<Outcome<B>>, old: usize) {
        let Joined { models, from, groups, roots } = joined;
        let before = std::mem::take(&mut self.models);
        let mut planned: Vec<_> = models.into_iter().map(Some).collect();
        let mut models: Vec<_> = planned.iter().map(|_| None).collect();
        for (group, Outcome { before: of_session, session, grown }) in groups.into_iter().zip(outcomes) {
            let Ok(grown) = grown else { continue };
            self.reads += grown.reads;
            for (block, &index) in group.iter().enumerate() {
                let Some(planned) = planned[index].take() else { continue };
                let rows = planned.inputs.rows();
                let mut model = unopened(planned, rows);
                (model.session, model.block) = (self.sessions.len(), block);
                if let Some(from) = from[index].filter(|_| of_session.is_some()) {
                    model.fed[..old].copy_from_slice(&before[from].fed);
                    // A model may have become two, which both have its scores.
                    model.scores = before[from].scores.shallow_clone(&self.backend, rows);
                }
                let of_block = model.rows_of_session(rows);
                for scores in &grown.scores {
                    let scores = scores.shallow_clone(&self.backend).select(&of_block);
                    model.scores.insert(scores, &vec![0; rows]);
                }
                models[index] = Some(model);
            }
            let parked = of_session.map_or(Vec::new(), |before| before.parked);
            let left = grown.parked.into_iter().map(|row| {
                let used = if grown.used.contains(&row) { self.clock } else { parked[row].used };
                Parked { used, ..parked[row].clone() }
            });
            let parked = left.collect();
            self.sessions.push(OpenSession { session, models: group, parked });
        }
        self.models = models.into_iter().flatten().collect();
        if let Some((roots, leaves)) = roots {
            (self.roots, self.leaves) = (roots, leaves);
        }
    }
}
