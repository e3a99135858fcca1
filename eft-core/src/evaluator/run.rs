//! Finds the tokens that each session must be fed so that the requested positions have scores, and feeds them.
use std::ops::Range;

use super::Evaluator;
use super::model::Inputs;
use super::threads::for_each;
use crate::backend::Backend;
use crate::{Draws, Error, Result, RowFeed, Scores, Session};

/// One pass of one session.
struct Pass {
    session: usize,
    /// How many tokens each row of the session drops first. Scores that are no longer stored are computed again by
    /// dropping their tokens and feeding them once more.
    drop: Vec<usize>,
    feed: Vec<RowFeed>,
    models: Vec<ModelPass>,
}

/// The part of a pass that concerns the rows of one model.
struct ModelPass {
    model: usize,
    /// For each row of the batch.
    rows: Vec<RowPass>,
}

/// The part of a pass that concerns one row of a model.
#[derive(Clone, Copy)]
struct RowPass {
    /// How many of the pushed tokens the session still holds after tokens are dropped and before others are fed.
    kept: usize,
    /// How many of the pushed tokens are fed after the pass.
    fed: usize,
    /// The first position that is scored.
    start: usize,
    /// Whether the last token of the prompt is dropped and fed again, because the scores at position 0, which follow
    /// it, are wanted and no longer stored.
    refeeds_prompt: bool,
}

/// Why a pass failed.
struct PassError {
    error: Error,
    /// Rows have dropped tokens, and have not been fed.
    dropped: bool,
}

impl<B: Backend> Evaluator<B> {
    /// Says which random numbers will draw the tokens after those that were pushed, where the caller knows them: see
    /// [`Session::foresee`].
    pub fn foresee(&mut self, draws: Draws<'_>) {
        let rows = self.pushed.len();
        for open in &mut self.sessions {
            let of_models = rows * open.models.len();
            // Each model has a row of the session for each row of the batch.
            open.session.foresee(&|row, token| if row < of_models { draws(row % rows, token) } else { None });
        }
    }

    /// Makes sure that the models have scores at the positions. Everything is checked before anything is run. If a
    /// model fails, the others have read tokens that it has not; the next call feeds only the missing tokens.
    pub(super) fn run(&mut self, models: &[usize], at: &[Range<usize>]) -> Result<()> {
        let wanted: Vec<_> = (0..self.models.len()).map(|m| models.contains(&m).then_some(at)).collect();
        self.run_each(&wanted)
    }

    /// Makes sure that each model has scores at its positions, as [`run`](Self::run) does. `wanted` has the positions for
    /// each model, or `None` for a model that is not run.
    pub(super) fn run_each(&mut self, wanted: &[Option<&[Range<usize>]>]) -> Result<()> {
        let mut passes = Vec::new();
        for session in 0..self.sessions.len() {
            if let Some(pass) = self.pass(session, wanted)? {
                passes.push(pass);
            }
        }
        let mut sessions: Vec<_> = self.sessions.iter_mut().map(|open| Some(&mut open.session)).collect();
        let jobs = passes.iter().filter_map(|pass| Some((sessions[pass.session].take()?, pass))).collect();
        let outcomes = for_each(jobs, self.options.parallel, |(session, pass)| pass.run(session));
        let mut first_error = None;
        for (pass, outcome) in passes.into_iter().zip(outcomes) {
            let error = match outcome {
                Ok(scores) => self.record(&pass, scores).err(),
                Err(PassError { error, dropped }) => {
                    if dropped {
                        self.record_drop(&pass, &error);
                    }
                    Some(error)
                }
            };
            first_error = first_error.or(error);
        }
        let rows = self.rows();
        first_error.map_or(Ok(()), |error| Err(error.of_session(rows)))
    }

    /// The pass that one session needs; `None` if its models have all requested scores.
    fn pass(&self, session: usize, wanted: &[Option<&[Range<usize>]>]) -> Result<Option<Pass>> {
        let rows = self.rows();
        let open = &self.sessions[session];
        let all = rows * open.models.len() + open.parked.len();
        let mut pass =
            Pass { session, drop: vec![0; all], feed: vec![RowFeed::none(); all], models: Vec::new() };
        for &index in &open.models {
            let Some(at) = wanted[index] else { continue };
            let model = &self.models[index];
            let untouched = |&fed: &usize| RowPass { kept: fed, fed, start: 0, refeeds_prompt: false };
            let mut row_passes: Vec<_> = model.fed.iter().map(untouched).collect();
            for (row, (positions, row_pass)) in at.iter().zip(&mut row_passes).enumerate() {
                let Some(missing) = positions.clone().find(|p| !model.scores.has(row, *p)) else { continue };
                let last_of_prompt = match (missing, &model.inputs) {
                    (0, Inputs::Ids(prompts)) => prompts[row].last().copied(),
                    (0, Inputs::Prompts(_)) => return Err(Error::Forgotten { row, position: 0 }),
                    _ => None,
                };
                let refeeds_prompt = last_of_prompt.is_some();
                let kept = model.fed[row].min(missing.saturating_sub(1));
                *row_pass = RowPass { kept, fed: positions.end - 1, start: missing, refeeds_prompt };
                let of_session = model.block * rows + row;
                pass.drop[of_session] = model.fed[row] - kept + usize::from(refeeds_prompt);
                let pushed = &self.pushed[row][kept..positions.end - 1];
                pass.feed[of_session] = RowFeed {
                    tokens: last_of_prompt.iter().chain(pushed).copied().collect(),
                    wanted: positions.end - missing,
                };
            }
            pass.models.push(ModelPass { model: index, rows: row_passes });
        }
        if pass.feed.iter().all(|f| f.tokens.is_empty()) {
            return Ok(None);
        }
        self.check_pass(&pass)?;
        Ok(Some(pass))
    }

    /// Checks that the session can drop and be fed this many tokens.
    fn check_pass(&self, pass: &Pass) -> Result<()> {
        let rows = self.rows();
        let open = &self.sessions[pass.session];
        let (room, limit) = (open.session.room(), open.session.rollback_limit());
        let of_models = rows * open.models.len();
        for (row, (feed, drop)) in pass.feed.iter().zip(&pass.drop).take(of_models).enumerate() {
            let (room, limit) = match (room.get(row), limit.get(row)) {
                (Some(room), Some(limit)) => (room.saturating_add(*drop), *limit),
                _ => {
                    let what = format!("rows of a session of `{}`", self.models[open.models[0]].name);
                    return Err(Error::shape(what, pass.feed.len(), room.len()));
                }
            };
            let (term, row) = (&self.models[open.models[row / rows]].name, row % rows);
            if *drop > limit {
                // A session can drop all tokens fed after its prompt, so a token that it cannot drop is in the prompt.
                return Err(Error::Forgotten { row, position: 0 });
            }
            if feed.tokens.len() > room {
                return Err(Error::ContextFull { term: term.clone(), row, asked: feed.tokens.len(), room });
            }
        }
        Ok(())
    }

    /// Records a pass, and stores the scores that it returned.
    fn record(&mut self, pass: &Pass, scores: Scores<B>) -> Result<()> {
        let rows = self.rows();
        let wanted: Vec<_> = pass.feed.iter().map(|f| f.wanted).collect();
        let first = &self.models[pass.models[0].model];
        let checked = scores.check(&self.backend, &first.name, &wanted, first.model.vocab().real());
        for model_pass in &pass.models {
            let model = &mut self.models[model_pass.model];
            model.fed = model_pass.rows.iter().map(|r| r.fed).collect();
            model.scores.truncate(model_pass.rows.iter().map(|r| r.kept.max(r.start.saturating_sub(1))));
            // The session has read the tokens even if its scores cannot be used.
            if checked.is_ok() {
                let starts: Vec<_> = model_pass.rows.iter().map(|r| r.start).collect();
                let of_block = model.rows_of_session(rows);
                model.scores.insert(scores.shallow_clone(&self.backend).select(&of_block), &starts);
            }
        }
        checked
    }

    /// Records that a session dropped tokens and then failed to read others.
    fn record_drop(&mut self, pass: &Pass, error: &Error) {
        if pass.models.iter().flat_map(|m| &m.rows).any(|r| r.refeeds_prompt) {
            // It has lost the end of its prompt.
            self.poison = Some(crate::error::with_sources(error));
        }
        for model_pass in &pass.models {
            let model = &mut self.models[model_pass.model];
            model.fed = model_pass.rows.iter().map(|r| r.kept).collect();
            model.scores.truncate(model.fed.iter().copied());
        }
    }
}

impl Pass {
    fn run<B: Backend>(&self, session: &mut dyn Session<Backend = B>) -> Result<Scores<B>, PassError> {
        let drops = self.drop.iter().any(|d| *d > 0);
        if drops {
            session.rollback(&self.drop).map_err(|error| PassError { error, dropped: false })?;
        }
        session.extend(&self.feed).map_err(|error| PassError { error, dropped: drops })
    }
}
