//! Adding rows to an open session.
use super::model::{Model, PlannedModel};
use super::open::open_rows;
use super::parts::Parts;
use super::prefix::nearest;
use crate::backend::Backend;
use crate::{EngineRow, Error, Result, RowFeed, Scores, Session};

/// Where a row of the grown session comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// It is this row of the session, and stays as it is.
    Held(usize),
    /// It is a new row: a model of the group, and one of its prompts.
    New { block: usize, row: usize },
}

/// What must be known to add rows to a session.
pub(super) struct Growth<'a, B: Backend> {
    /// The models that the session runs.
    pub(super) group: Vec<&'a PlannedModel<B>>,
    /// The tokens that each row of the session holds; none if the model is opaque.
    pub(super) read: Vec<EngineRow>,
    /// Each row of the grown session. All rows that the session has are among them.
    pub(super) origins: Vec<Origin>,
}

/// A session that has got more rows.
pub(super) struct Grown<B: Backend> {
    /// The scores of the new rows, in one or several parts.
    pub(super) scores: Vec<Scores<B>>,
    /// The selection that drops the new rows again.
    undo: Vec<usize>,
}

/// Why rows could not be added.
pub(super) struct GrowError {
    /// A row that it names is one of the grown session.
    pub(super) error: Error,
    /// The new rows could not be dropped again, or the session is unusable.
    pub(super) lost: bool,
}

impl<B: Backend> Growth<'_, B> {
    /// Adds the new rows. Each continues from a copy of the row that shares the longest prefix with it, where the session
    /// can roll back to that prefix; the others are opened. If that fails, the session gets its rows back.
    pub(super) fn run(&self, session: &mut Parts<B>) -> Result<Grown<B>, GrowError> {
        let limits = session.rollback_limit();
        let before = limits.len();
        let mut plan = Steps { opened: Vec::new(), selected: Vec::new(), drop: Vec::new(), feed: Vec::new() };
        for (index, origin) in self.origins.iter().enumerate() {
            plan.add(index, self.step(*origin, &limits), before);
        }
        let opened = match plan.opened.is_empty() {
            true => None,
            false => {
                let rows: Vec<_> = plan.opened.iter().filter_map(|index| self.place(*index)).collect();
                let opened = open_rows(&self.group, &rows);
                let (part, scores) = opened
                    .map_err(|error| GrowError { error: in_grown(error, &plan.opened), lost: false })?;
                session.add(part, rows.len());
                Some(scores)
            }
        };
        let held = |old| self.origins.iter().position(|o| matches!(o, Origin::Held(row) if *row == old));
        let undo: Vec<_> = (0..before).filter_map(held).collect();
        match self.read(session, &plan) {
            Ok(read) => {
                let opened = opened.map(|scores| scores.spread(self.origins.len(), &plan.opened));
                Ok(Grown { scores: read.into_iter().chain(opened).collect(), undo })
            }
            Err((error, selected)) => {
                let back = if selected { undo } else { (0..before).collect() };
                Err(GrowError { error, lost: drop_rows(session, &back, before).is_err() })
            }
        }
    }

    /// What is done for a row.
    fn step(&self, origin: Origin, limits: &[usize]) -> Step {
        let (block, row) = match origin {
            Origin::Held(row) => return Step::Keep(row),
            Origin::New { block, row } => (block, row),
        };
        let Some(row) = self.group[block].engine_row(row) else { return Step::Open };
        match nearest(&self.read, limits, &row) {
            Some((old, kept)) => Step::Continue {
                old,
                drop: self.read[old].tokens.len() - kept,
                feed: RowFeed::last(row.tokens[kept..].to_vec()),
            },
            None => Step::Open,
        }
    }

    /// The model and the prompt of a new row.
    fn place(&self, index: usize) -> Option<(usize, usize)> {
        match self.origins[index] {
            Origin::Held(_) => None,
            Origin::New { block, row } => Some((block, row)),
        }
    }

    /// Makes the session's rows those that are wanted, and feeds the rows that continue from others. An error says whether
    /// the rows had been selected.
    fn read(&self, session: &mut Parts<B>, plan: &Steps) -> Result<Option<Scores<B>>, (Error, bool)> {
        session.select(&plan.selected).map_err(|error| (error, false))?;
        if plan.drop.iter().any(|drop| *drop > 0) {
            session.rollback(&plan.drop).map_err(|error| (error, true))?;
        }
        if plan.feed.iter().all(|feed| feed.tokens.is_empty()) {
            return Ok(None);
        }
        let scores = session.extend(&plan.feed).map_err(|error| (error, true))?;
        let (first, wanted) = (self.group[0], plan.feed.iter().map(|feed| feed.wanted).collect::<Vec<_>>());
        let checked = scores.check(first.model.backend(), &first.name, &wanted, first.model.vocab().real());
        checked.map(|()| Some(scores)).map_err(|error| (error, true))
    }
}

impl<B: Backend> Grown<B> {
    /// Drops the new rows again.
    pub(super) fn undo(&self, session: &mut Parts<B>) -> Result<()> {
        drop_rows(session, &self.undo, self.undo.len())
    }
}

/// Makes the rows `back` the only ones of a session that had `before` rows.
fn drop_rows<B: Backend>(session: &mut Parts<B>, back: &[usize], before: usize) -> Result<()> {
    if back.len() != before {
        return Err(Error::shape("rows of a session", before, back.len()));
    }
    match before {
        // The session was opened for the new rows alone, and is dropped as a whole.
        0 => Ok(()),
        _ => session.select(back),
    }
}

/// What is done for one row of a grown session.
enum Step {
    Keep(usize),
    /// It is a copy of an old row that drops some tokens and reads others.
    Continue {
        old: usize,
        drop: usize,
        feed: RowFeed,
    },
    /// It is opened.
    Open,
}

/// What is done for all rows.
struct Steps {
    /// The rows that are opened.
    opened: Vec<usize>,
    /// For each row, the row that it is made of, of those that the session had and those that are opened.
    selected: Vec<usize>,
    drop: Vec<usize>,
    feed: Vec<RowFeed>,
}

impl Steps {
    /// Adds the row of this index, in a session that had `before` rows.
    fn add(&mut self, index: usize, step: Step, before: usize) {
        let (selected, drop, feed) = match step {
            Step::Keep(old) => (old, 0, RowFeed::none()),
            Step::Continue { old, drop, feed } => (old, drop, feed),
            Step::Open => {
                self.opened.push(index);
                (before + self.opened.len() - 1, 0, RowFeed::none())
            }
        };
        self.selected.push(selected);
        self.drop.push(drop);
        self.feed.push(feed);
    }
}

/// The error of a session that was opened on some rows, with the row of the grown session.
fn in_grown(error: Error, rows: &[usize]) -> Error {
    match error {
        Error::RowFailed { row, source } => {
            Error::RowFailed { row: rows.get(row).copied().unwrap_or(row), source }
        }
        other => other,
    }
}

/// Whether rows of both models can be rows of one session: those of one engine, or of one opaque source.
pub(super) fn shares_session<B: Backend>(a: &Model<B>, b: &Model<B>) -> bool {
    a.shares_passes(b) || matches!((a, b), (Model::Opaque(_), Model::Opaque(_)) if a.same(b))
}
