//! Adding rows to an open session.
use super::model::{Model, PlannedModel};
use super::open::open_rows;
use super::parts::Parts;
use super::prefix::nearest;
use super::reads::PromptReads;
use crate::backend::Backend;
use crate::{EngineRow, Error, Result, RowFeed, Scores, Session};

/// Where a row of the grown session comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// It is this row of a model, and stays as it is.
    Held(usize),
    /// It is a new row: a model of the group, and one of its prompts.
    New { block: usize, row: usize },
}

/// What must be known to add rows to a session.
pub(super) struct Growth<'a, B: Backend> {
    /// The models that the session runs.
    pub(super) group: Vec<&'a PlannedModel<B>>,
    /// The number of the session's rows that are rows of the models. Those after them are parked.
    pub(super) rows: usize,
    /// The tokens that each row of the session holds; none if the model is opaque.
    pub(super) held: Vec<EngineRow>,
    /// The rows that prompts are being read into, in pieces.
    pub(super) reading: Vec<usize>,
    /// Each row of the models in the grown session. Parked rows come after them. All rows that the session has are among them.
    pub(super) origins: Vec<Origin>,
}

/// A session that has got more rows.
pub(super) struct Grown<B: Backend> {
    /// The scores of the new rows, in one or several parts.
    pub(super) scores: Vec<Scores<B>>,
    /// The parked rows that are left, and those that new rows have begun with.
    pub(super) parked: Vec<usize>,
    pub(super) used: Vec<usize>,
    /// What has been read of the new prompts.
    pub(super) reads: PromptReads,
    /// The selection that drops the new rows again.
    undo: Vec<usize>,
}

/// Why rows could not be added.
pub(super) struct GrowError {
    /// A row that it names is one of the grown session.
    pub(super) error: Box<Error>,
    /// The new rows could not be dropped again, or the session is unusable.
    pub(super) lost: bool,
    /// The parked rows that are left.
    pub(super) parked: Vec<usize>,
}

impl<B: Backend> Growth<'_, B> {
    /// Adds the new rows. Each continues from a copy of the row that shares the longest prefix with it, where the session
    /// can roll back to that prefix; the others are opened. A parked row of which a new row begins with all becomes that row.
    /// If that fails, the session gets its rows back, but for such parked rows.
    pub(super) fn run(&self, session: &mut Parts<B>) -> Result<Grown<B>, GrowError> {
        let limits = session.rollback_limit();
        let before = limits.len();
        let mut plan = Steps::default();
        for (index, origin) in self.origins.iter().enumerate() {
            plan.add(index, self.step(*origin, &limits), before);
        }
        let rows = self.origins.len();
        let parked: Vec<_> = (self.rows..before).filter(|row| !plan.taken.contains(row)).collect();
        parked.iter().enumerate().for_each(|(i, row)| plan.add(rows + i, Step::Keep(*row), before));
        let all = rows + parked.len();
        let number = |rows: &[usize]| -> Vec<usize> {
            rows.iter().filter_map(|row| row.checked_sub(self.rows)).collect()
        };
        let mut scores = Vec::new();
        if !plan.opened.is_empty() {
            let places: Vec<_> = plan.opened.iter().filter_map(|index| self.place(*index)).collect();
            let (part, opened) = open_rows(&self.group, &places).map_err(|error| GrowError {
                error: in_grown(error, &plan.opened).into(),
                lost: false,
                parked: (0..before - self.rows).collect(),
            })?;
            session.add(part, places.len());
            scores.push(opened.spread(all, &plan.opened));
        }
        let held = |old| self.origins.iter().position(|o| matches!(o, Origin::Held(row) if *row == old));
        let undo: Vec<_> = (0..self.rows).filter_map(held).chain(rows..all).collect();
        match self.read(session, &plan) {
            Ok(read) => {
                scores.extend(read);
                let (parked, used, reads) = (number(&parked), number(&plan.continued), self.reads(&plan));
                Ok(Grown { scores, parked, used, reads, undo })
            }
            Err(NotFed { error, selected }) => {
                let back: Vec<_> = if selected { undo } else { (0..before).collect() };
                let left = if selected { parked } else { (self.rows..before).collect() };
                let lost = back.len() != self.rows + left.len() || drop_rows(session, &back).is_err();
                Err(GrowError { error: error.into(), lost, parked: number(&left) })
            }
        }
    }

    /// What is read of the new prompts. What was read before in pieces has been counted then.
    fn reads(&self, plan: &Steps) -> PromptReads {
        let opened = plan.opened.iter().filter_map(|index| self.place(*index));
        let opened = opened.filter_map(|(block, row)| self.group[block].engine_row(row));
        let mut reads = PromptReads { read: opened.map(|row| row.tokens.len()).sum(), kept: 0 };
        for ((old, drop), feed) in plan.selected.iter().zip(&plan.drop).zip(&plan.feed) {
            reads.read += feed.tokens.len();
            if !feed.tokens.is_empty() && !self.reading.contains(old) {
                reads.kept += self.held[*old].tokens.len() - drop;
            }
        }
        reads
    }

    /// What is done for a row.
    fn step(&self, origin: Origin, limits: &[usize]) -> Step {
        let (block, row) = match origin {
            Origin::Held(row) => return Step::Keep(row),
            Origin::New { block, row } => (block, row),
        };
        let Some(row) = self.group[block].engine_row(row) else { return Step::Open };
        match nearest(&self.held, limits, &row) {
            Some((old, kept)) => Step::Continue {
                old,
                drop: self.held[old].tokens.len() - kept,
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

    /// Makes the session's rows those that are wanted, and feeds the rows that continue from others.
    fn read(&self, session: &mut Parts<B>, plan: &Steps) -> Result<Option<Scores<B>>, NotFed> {
        let scores = select_and_feed(session, &plan.selected, &plan.drop, &plan.feed)?;
        let Some(scores) = scores else { return Ok(None) };
        let (first, wanted) = (self.group[0], plan.feed.iter().map(|feed| feed.wanted).collect::<Vec<_>>());
        let checked = scores.check(first.model.backend(), &first.name, &wanted, first.model.vocab().real());
        checked.map(|()| Some(scores)).map_err(|error| NotFed { error, selected: true })
    }
}

/// Why rows were not selected and fed.
pub(super) struct NotFed {
    pub(super) error: Error,
    /// Whether the rows had been selected.
    pub(super) selected: bool,
}

/// Makes the rows of a session those of `selected`, drops tokens from their ends, and feeds them others. Returns the scores,
/// if any row was fed.
pub(super) fn select_and_feed<B: Backend>(
    session: &mut Parts<B>,
    selected: &[usize],
    drop: &[usize],
    feed: &[RowFeed],
) -> Result<Option<Scores<B>>, NotFed> {
    session.select(selected).map_err(|error| NotFed { error, selected: false })?;
    let failed = |error| NotFed { error, selected: true };
    if drop.iter().any(|drop| *drop > 0) {
        session.rollback(drop).map_err(failed)?;
    }
    match feed.iter().any(|feed| !feed.tokens.is_empty()) {
        true => session.extend(feed).map(Some).map_err(failed),
        false => Ok(None),
    }
}

impl<B: Backend> Grown<B> {
    /// Drops the new rows again.
    pub(super) fn undo(&self, session: &mut Parts<B>) -> Result<()> {
        drop_rows(session, &self.undo)
    }
}

/// Makes the rows `back` the only ones of a session.
fn drop_rows<B: Backend>(session: &mut Parts<B>, back: &[usize]) -> Result<()> {
    match back.is_empty() {
        // The session was opened for the new rows alone, and is dropped as a whole.
        true => Ok(()),
        false => session.select(back),
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
#[derive(Default)]
struct Steps {
    /// The rows that are opened.
    opened: Vec<usize>,
    /// For each row, the row that it is made of, of those that the session had and those that are opened.
    selected: Vec<usize>,
    drop: Vec<usize>,
    feed: Vec<RowFeed>,
    /// The old rows that new rows continue from, and those of which a new row begins with all tokens, or all but the last.
    continued: Vec<usize>,
    taken: Vec<usize>,
}

impl Steps {
    /// Adds the row of this index, in a session that had `before` rows.
    fn add(&mut self, index: usize, step: Step, before: usize) {
        let (selected, drop, feed) = match step {
            Step::Keep(old) => (old, 0, RowFeed::none()),
            Step::Continue { old, drop, feed } => {
                self.continued.push(old);
                if drop <= 1 {
                    self.taken.push(old);
                }
                (old, drop, feed)
            }
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
