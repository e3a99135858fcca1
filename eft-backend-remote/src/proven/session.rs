//! The session of a [`ProvenSum`](super::ProvenSum).
use std::sync::Arc;

use eft_core::error::with_sources;
use eft_core::scores::Coverage;
use eft_core::{
    Backend, Engine, EngineRow, Error as CoreError, Form, LogitSource, Opened, Prompt, Result, RowFeed,
    Scores, Session,
};

use super::bound::{Judged, judge};
use super::report::ProofReport;
use super::{NAMED, Shared, Unproven, WIDER};
use crate::engine::Asker;
use crate::error::Error;
use crate::parallel;
use crate::told::{Told, Wanted};

pub(super) struct ProvenSession<B: Backend> {
    shared: Arc<Shared<B>>,
    large: Asker<B>,
    delta: Box<dyn Session<Backend = B>>,
    /// The failure after which the rows of the two differ.
    poison: Option<String>,
}

/// One position: what is told about it, the local term, and what follows.
struct Position {
    row: usize,
    /// The number of the row's tokens before it.
    length: usize,
    told: Told,
    delta: Vec<f32>,
    judged: Judged,
    /// The server was asked a second time.
    widened: bool,
}

impl<B: Backend> ProvenSession<B> {
    pub(super) fn open(shared: Arc<Shared<B>>, prompts: &[Prompt]) -> Result<Opened<B>> {
        let ids =
            prompts.iter().map(|prompt| shared.large.render(prompt.clone())).collect::<Result<Vec<_>>>()?;
        let rows: Vec<_> = ids.iter().map(|ids| EngineRow { adapter: None, tokens: ids.clone() }).collect();
        shared.engine.spec().check(&rows)?;
        let feeds: Vec<_> = ids.into_iter().map(RowFeed::last).collect();
        let mut large = Asker::new(shared.engine.clone(), feeds.len());
        let (told, delta) = std::thread::scope(|scope| {
            let told = scope.spawn(|| large.ask(&feeds));
            let delta = shared.delta.open(prompts);
            (joined(told), delta)
        });
        let ((delta, local), told) = (delta?, told?);
        let mut session = Self { shared, large, delta, poison: None };
        let scores = session.combine(&feeds, told, &local)?;
        session.large.take(&feeds);
        Ok((Box::new(session), scores))
    }

    fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(CoreError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Adds the local term to what is told about each position, and asks again where that does not prove the choice.
    fn combine(&self, feeds: &[RowFeed], told: Vec<Vec<Told>>, local: &Scores<B>) -> Result<Scores<B>> {
        let width = self.shared.vocab.width();
        let mut positions = self.positions(feeds, told, local)?;
        self.widen(feeds, &mut positions)?;
        let mut report = ProofReport::default();
        for position in &positions {
            match (position.judged.is_proven(), position.widened) {
                (true, false) => report.at_once += 1,
                (true, true) => report.widened += 1,
                (false, _) => report.unproven += 1,
            }
        }
        self.shared.counts.add(report);
        let unproven = positions.iter().find(|position| !position.judged.is_proven());
        if let Some(position) = unproven.filter(|_| self.shared.unproven == Unproven::Refuse) {
            let (length, contenders) = (position.length, position.judged.contenders.len());
            let error = Error::Unproven { length, contenders };
            return Err(CoreError::row(position.row, error.of(&self.shared.engine.spec().name)));
        }
        let coverage: Vec<_> = positions.iter().map(Position::coverage).collect();
        let mut rows = vec![Vec::new(); feeds.len()];
        positions.into_iter().for_each(|position| rows[position.row].push(position.sum(width)));
        let backend = &self.shared.engine.spec().backend;
        Ok(Scores::upload(backend, &rows, width, Form::Partial)?.with_coverage(coverage))
    }

    /// The positions of all rows, judged by the first answers.
    fn positions(&self, feeds: &[RowFeed], told: Vec<Vec<Told>>, local: &Scores<B>) -> Result<Vec<Position>> {
        let (backend, vocab) = (&self.shared.engine.spec().backend, &self.shared.vocab);
        if local.form() == Form::Partial {
            let (rule, term) = ("a proven sum".into(), self.shared.delta.name());
            return Err(CoreError::PartialRows { rule, term });
        }
        let unassigned = vocab.unassigned();
        let mut positions = Vec::new();
        for (row, (told, feed)) in told.into_iter().zip(feeds).enumerate() {
            let scored = local.positions(row);
            if scored.len() != told.len() {
                let what = format!("scores of `{}`: positions of row {row}", self.shared.delta.name());
                return Err(CoreError::shape(what, told.len(), scored.len()));
            }
            let whole = self.large.tokens(row).len() + feed.tokens.len();
            for (place, (told, scored)) in told.into_iter().zip(scored).enumerate() {
                let mut delta = backend.download(&[scored], vocab.real().min(local.width()))?;
                for id in &unassigned {
                    if let Some(score) = delta.get_mut(*id as usize) {
                        *score = f32::NEG_INFINITY;
                    }
                }
                let length = whole + 1 + place - feed.wanted;
                let judged = judge(&told, &delta);
                positions.push(Position { row, length, told, delta, judged, widened: false });
            }
        }
        Ok(positions)
    }

    /// Asks a second time about the positions that are not proven.
    fn widen(&self, feeds: &[RowFeed], positions: &mut [Position]) -> Result<()> {
        let large = &self.large;
        let engine = large.engine();
        let unsure: Vec<_> = (0..positions.len()).filter(|i| !positions[*i].judged.is_proven()).collect();
        let answers = parallel::map(&unsure, engine.server().client.parallel(), |index| {
            let position = &positions[*index];
            let (before, fed) = (large.tokens(position.row), &feeds[position.row].tokens);
            let tokens = [before, &fed[..position.length - before.len()]].concat();
            let named = engine.server().kind().names_tokens();
            let answer = match engine.wanted() {
                Wanted::Top(_) if named => {
                    let contenders = &position.judged.contenders;
                    engine.ask(&tokens, 1, Wanted::Named(&contenders[..contenders.len().min(NAMED)]))
                }
                Wanted::Top(k) => {
                    let real = engine.spec().vocab.real();
                    let whole = k * WIDER >= real && engine.server().kind().tells_whole_rows();
                    engine.ask(
                        &tokens,
                        1,
                        if whole { Wanted::Whole } else { Wanted::Top((k * WIDER).min(real)) },
                    )
                }
                Wanted::Whole | Wanted::Named(_) => Ok(Vec::new()),
            };
            (*index, answer)
        });
        for (index, answer) in answers {
            let position = &mut positions[index];
            let answer = answer.map_err(|e| CoreError::row(position.row, e.of(&engine.spec().name)))?;
            if let Some(told) = answer.first() {
                position.told.merge(told);
                position.judged = judge(&position.told, &position.delta);
                position.widened = true;
            }
        }
        Ok(())
    }

    /// Undoes what the local term has been fed by a call that failed.
    fn undo(&mut self, feeds: &[RowFeed], error: &CoreError) {
        let fed: Vec<_> = feeds.iter().map(|feed| feed.tokens.len()).collect();
        if let Err(undo) = self.delta.rollback(&fed) {
            let (error, undo) = (with_sources(error), with_sources(&undo));
            self.poison = Some(format!("{error}; then undoing the call failed: {undo}"));
        }
    }
}

impl Position {
    /// The scores of the sum: −∞ for what is not told. If the local term is unsound, so is the row.
    fn sum(self, width: usize) -> Vec<f32> {
        let mut row = vec![f32::NEG_INFINITY; width];
        for (id, log_prob) in self.told.entries() {
            if let (Some(score), Some(delta)) = (row.get_mut(*id as usize), self.delta.get(*id as usize)) {
                *score = log_prob + delta;
            }
        }
        if self.delta.iter().any(|delta| delta.is_nan() || *delta == f32::INFINITY) {
            row.fill(f32::NAN);
        }
        row
    }

    fn coverage(&self) -> Coverage {
        Coverage::new(self.told.mass() as f32)
            .proven(self.judged.is_proven())
            .missed_mass(self.judged.missed as f32)
    }
}

impl<B: Backend> Session for ProvenSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        let limits = self.large.lengths().into_iter().zip(self.delta.rollback_limit());
        limits.map(|(large, delta)| large.min(delta)).collect()
    }

    fn room(&self) -> Vec<usize> {
        let rooms = self.large.room().into_iter().zip(self.delta.room());
        rooms.map(|(large, delta)| large.min(delta)).collect()
    }

    fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<B>> {
        self.healthy()?;
        let width = self.shared.vocab.width();
        eft_core::check::feeds(&self.shared.engine.spec().name, feeds, &self.room(), width)?;
        // The local models compute while the server does.
        let (large, delta) = (&mut self.large, &mut self.delta);
        let (told, local) = std::thread::scope(|scope| {
            let told = scope.spawn(|| large.ask(feeds));
            let local = delta.extend(feeds);
            (joined(told), local)
        });
        let local = local?;
        let combined = told.and_then(|told| self.combine(feeds, told, &local));
        match &combined {
            Ok(_) => self.large.take(feeds),
            Err(error) => self.undo(feeds, error),
        }
        combined
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.healthy()?;
        eft_core::check::rollback(drop, &self.rollback_limit())?;
        self.delta.rollback(drop)?;
        self.large.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.healthy()?;
        self.delta.select(rows)?;
        self.large.select(rows)
    }
}

/// The result of a thread, or its panic.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
