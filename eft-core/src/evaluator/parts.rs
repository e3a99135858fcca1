//! [`Parts`]: several sessions of one model as a single session.
use crate::backend::{Backend, ScoreRow, Term};
use crate::check;
use crate::error::{in_row, with_sources};
use crate::scores::consecutive;
use crate::{Draws, Error, Form, Result, RowFeed, Scores, Session};

/// Sessions of one model, whose rows are the rows of one batch in any order.
///
/// Rows that join a batch usually become rows of its only session. They need a session of their own where that cannot
/// be done: if the model is opaque, or its sessions cannot roll back into their prompts. Each part then takes a pass.
pub(crate) struct Parts<B: Backend> {
    backend: B,
    parts: Vec<Part<B>>,
    /// The failure that left some parts changed and others not.
    poison: Option<String>,
}

struct Part<B: Backend> {
    session: Box<dyn Session<Backend = B>>,
    /// The rows of the batch that its rows are, in increasing order.
    rows: Vec<usize>,
}

impl<B: Backend> Parts<B> {
    /// A session without rows, which [`add`](Self::add) adds some to.
    pub(crate) fn none(backend: B) -> Self {
        Self { backend, parts: Vec::new(), poison: None }
    }

    /// A session of `rows` rows.
    pub(crate) fn of(backend: B, session: Box<dyn Session<Backend = B>>, rows: usize) -> Self {
        let mut parts = Self::none(backend);
        parts.add(session, rows);
        parts
    }

    /// Adds a session of `rows` rows, which become the last rows of the batch.
    pub(crate) fn add(&mut self, session: Box<dyn Session<Backend = B>>, rows: usize) {
        let first = self.rows();
        self.parts.push(Part { session, rows: (first..first + rows).collect() });
    }

    /// The number of rows of all parts.
    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// The only part, if there is one part.
    fn only(&mut self) -> Option<&mut Part<B>> {
        match &mut self.parts[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// One number for each row, from those of the parts.
    fn numbers(&self, of_part: impl Fn(&dyn Session<Backend = B>) -> Vec<usize>) -> Vec<usize> {
        if let [only] = &self.parts[..] {
            return of_part(&*only.session);
        }
        let mut numbers = vec![0; self.rows()];
        for part in &self.parts {
            part.rows.iter().zip(of_part(&*part.session)).for_each(|(row, number)| numbers[*row] = number);
        }
        numbers
    }

    /// Returns the error of a part, with the row of the batch. If parts before it have changed, the session is poisoned.
    fn fail(&mut self, part: usize, changed: bool, error: Error) -> Error {
        if changed {
            self.poison = Some(with_sources(&error));
        }
        in_batch(error, &self.parts[part].rows)
    }

    /// Drops the tokens that the parts before `end` have been fed. The session is poisoned if that fails.
    fn undo(&mut self, end: usize, feeds: &[RowFeed]) {
        for part in &mut self.parts[..end] {
            let drop: Vec<_> = part.rows.iter().map(|row| feeds[*row].tokens.len()).collect();
            if drop.iter().any(|drop| *drop > 0)
                && let Err(error) = part.session.rollback(&drop)
            {
                self.poison = Some(with_sources(&error));
            }
        }
    }

    /// The scores of the parts as those of the batch.
    fn merge(&self, of_parts: &[Scores<B>]) -> Result<Scores<B>> {
        let rows = self.rows();
        let width = of_parts.iter().map(Scores::width).min().unwrap_or(0);
        let form = of_parts.iter().map(Scores::form).reduce(Form::or).unwrap_or(Form::Logits);
        let mut positions: Vec<Vec<(ScoreRow<'_, B>, _)>> = vec![Vec::new(); rows];
        for (part, scores) in self.parts.iter().zip(of_parts) {
            for (index, row) in part.rows.iter().enumerate() {
                let of_row = scores.positions(index).into_iter();
                positions[*row] = of_row.map(|score| (score, scores.coverage_at(score.index))).collect();
            }
        }
        let spans = consecutive(positions.iter().map(Vec::len));
        let (all, coverage): (Vec<_>, Vec<_>) = positions.into_iter().flatten().unzip();
        if all.is_empty() {
            return Ok(Scores::none(rows, width, form));
        }
        // The sum of one term is a copy of its rows.
        let tensor = self.backend.linear(&[Term { weight: 1.0, rows: all }], width)?;
        let scores = Scores::new(tensor, spans, width, form);
        Ok(match coverage.into_iter().collect::<Option<Vec<_>>>() {
            Some(coverage) => scores.with_coverage(coverage),
            None => scores,
        })
    }
}

/// The error of a part with the row of the batch.
fn in_batch(error: Error, rows: &[usize]) -> Error {
    let of_batch = |row: usize| rows.get(row).copied().unwrap_or(row);
    match error {
        Error::RowFailed { row, source } => Error::RowFailed { row: of_batch(row), source },
        other => in_row(other, of_batch),
    }
}

impl<B: Backend> Session for Parts<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.numbers(|session| session.rollback_limit())
    }

    fn room(&self) -> Vec<usize> {
        self.numbers(|session| session.room())
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        self.healthy()?;
        if let Some(only) = self.only() {
            return only.session.extend(feeds);
        }
        check::per_row("feeds", self.rows(), feeds.len())?;
        let mut scores = Vec::new();
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            let of_part: Vec<_> = part.rows.iter().map(|row| feeds[*row].clone()).collect();
            match part.session.extend(&of_part) {
                Ok(of_part) => scores.push(of_part),
                Err(error) => {
                    self.undo(index, feeds);
                    return Err(in_batch(error, &self.parts[index].rows));
                }
            }
        }
        self.merge(&scores).inspect_err(|_| self.undo(self.parts.len(), feeds))
    }

    fn foresee(&mut self, draws: Draws<'_>) {
        for Part { session, rows } in &mut self.parts {
            session.foresee(&|row, token| draws(*rows.get(row)?, token));
        }
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        if let Some(only) = self.only() {
            return only.session.rollback(drop);
        }
        check::rollback(drop, &self.rollback_limit())?;
        let mut changed = false;
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            let of_part: Vec<_> = part.rows.iter().map(|row| drop[*row]).collect();
            if of_part.iter().all(|drop| *drop == 0) {
                continue;
            }
            if let Err(error) = part.session.rollback(&of_part) {
                return Err(self.fail(index, changed, error));
            }
            changed = true;
        }
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        check::select(rows, self.rows())?;
        let mut places = vec![(0, 0); self.rows()];
        for (index, part) in self.parts.iter().enumerate() {
            part.rows.iter().enumerate().for_each(|(i, row)| places[*row] = (index, i));
        }
        let mut changed = false;
        for index in 0..self.parts.len() {
            let taken = rows.iter().map(|row| places[*row]);
            let of_part: Vec<_> = taken.filter(|(part, _)| *part == index).map(|(_, row)| row).collect();
            if of_part.is_empty() || of_part.iter().copied().eq(0..self.parts[index].rows.len()) {
                continue;
            }
            if let Err(error) = self.parts[index].session.select(&of_part) {
                return Err(self.fail(index, changed, error));
            }
            changed = true;
        }
        for (index, part) in self.parts.iter_mut().enumerate() {
            part.rows = (0..rows.len()).filter(|row| places[rows[*row]].0 == index).collect();
        }
        self.parts.retain(|part| !part.rows.is_empty());
        Ok(())
    }
}
