//! Keeping the caches of rows that leave the batch, for rows that join later; and reading prompts in pieces.
use super::Evaluator;
use super::grow::{NotFed, select_and_feed};
use super::model::{Inputs, Model};
use super::parked::{Parked, within};
use super::plan::Leaves;
use super::prefix::nearest;
use super::reads::PromptReads;
use crate::backend::Backend;
use crate::error::with_sources;
use crate::{EngineRow, Result, RowFeed, Session};

impl<B: Backend> Evaluator<B> {
    /// What each row of a session holds: the rows of its models, and those that are parked. Empty for an opaque source.
    pub(super) fn held_by(&self, session: usize) -> Vec<EngineRow> {
        let open = &self.sessions[session];
        let rows = open.models.iter().flat_map(|model| self.models[*model].read(&self.pushed));
        rows.chain(open.parked.iter().map(|parked| parked.row.clone())).collect()
    }

    /// The rows that a session parks once the rows `left` of the batch are dropped, each with its index in the session now.
    pub(super) fn to_park(&self, session: usize, left: &[usize]) -> Vec<(usize, Parked)> {
        let (open, rows) = (&self.sessions[session], self.rows());
        let first = open.models.len() * rows;
        let mut all: Vec<_> =
            open.parked.iter().enumerate().map(|(i, parked)| (first + i, parked.clone())).collect();
        if self.options.cached_tokens > 0 && !left.is_empty() {
            for model in open.models.iter().map(|model| &self.models[*model]) {
                let held = model.read(&self.pushed);
                all.extend(left.iter().filter_map(|row| {
                    let parked = Parked { row: held.get(*row)?.clone(), used: self.clock, reading: None };
                    Some((model.block * rows + row, parked))
                }));
            }
        }
        within(all, self.options.cached_tokens)
    }

    /// The most tokens of a prompt that a model would have to read if it joined now.
    pub(crate) fn unread(&self, leaves: &Leaves<B>) -> usize {
        let Some(inputs) = self.leaves.inputs(leaves) else { return 0 };
        let of_session = |session: usize| {
            let (held, limits) = (self.held_by(session), self.sessions[session].session.rollback_limit());
            let of_model = |model: &usize| {
                let row = self.row_of(*model, inputs[*model])?;
                nearest(&held, &limits, &row).map(|(_, kept)| row.tokens.len() - kept)
            };
            self.sessions[session].models.iter().filter_map(of_model).max()
        };
        (0..self.sessions.len()).filter_map(of_session).max().unwrap_or(0)
    }

    /// Reads the next `tokens` tokens of a prompt into parked rows, in each model that would have to read more than that if it
    /// joined now. Sessions that cannot roll back into their prompts, and opaque sources, read nothing. `key` is a number of
    /// the prompt's own.
    ///
    /// # Errors
    /// Any error of a model. The evaluator can still be used, unless it is poisoned.
    pub(crate) fn read_piece(&mut self, leaves: &Leaves<B>, key: usize, tokens: usize) -> Result<()> {
        self.check_poison()?;
        let Some(inputs) = self.leaves.inputs(leaves) else { return Ok(()) };
        self.clock += 1;
        for session in 0..self.sessions.len() {
            let (held, open) = (self.held_by(session), &self.sessions[session]);
            let (limits, first) = (open.session.rollback_limit(), open.models.len() * self.rows());
            let mut parked = open.parked.clone();
            let mut selected: Vec<_> = (0..limits.len()).collect();
            let (mut drop, mut feed) = (vec![0; limits.len()], vec![RowFeed::none(); limits.len()]);
            let mut reads = PromptReads::default();
            for &model in &open.models {
                let Some(row) = self.row_of(model, inputs[model]) else { continue };
                let Some((old, kept)) = nearest(&held, &limits, &row) else { continue };
                let end = kept + tokens;
                if row.tokens.len() <= end {
                    continue;
                }
                let piece = RowFeed { tokens: row.tokens[kept..end].to_vec(), wanted: 0 };
                reads.read += tokens;
                let read = EngineRow { tokens: row.tokens[..end].to_vec(), ..row };
                let read = Parked { row: read, used: self.clock, reading: Some(key) };
                match old.checked_sub(first).filter(|index| {
                    parked.get(*index).is_some_and(|parked| parked.reading == Some(key))
                        && held[old].tokens.len() == kept
                }) {
                    Some(index) => (feed[old], parked[index]) = (piece, read),
                    None => {
                        reads.kept += kept;
                        selected.push(old);
                        drop.push(held[old].tokens.len() - kept);
                        feed.push(piece);
                        parked.push(read);
                    }
                }
            }
            if feed.iter().all(|feed| feed.tokens.is_empty()) {
                continue;
            }
            let open = &mut self.sessions[session];
            if let Err(NotFed { error, selected }) =
                select_and_feed(&mut open.session, &selected, &drop, &feed)
            {
                let before: Vec<_> = (0..limits.len()).collect();
                if selected && let Err(error) = open.session.select(&before) {
                    self.poison = Some(with_sources(&error));
                }
                return Err(error.of_session(self.rows()));
            }
            open.parked = parked;
            self.reads += reads;
        }
        Ok(())
    }

    /// Gives up what was read of a prompt in pieces, or keeps it like the rows that have left the batch.
    ///
    /// # Errors
    /// Any error of a model that drops rows, which poisons the evaluator.
    pub(crate) fn release(&mut self, key: usize) -> Result<()> {
        self.check_poison()?;
        for session in 0..self.sessions.len() {
            let of_key = self.sessions[session].parked.iter_mut().filter(|p| p.reading == Some(key));
            if of_key.map(|parked| parked.reading = None).count() == 0 {
                continue;
            }
            let kept = self.to_park(session, &[]);
            let first = self.sessions[session].models.len() * self.rows();
            let open = &mut self.sessions[session];
            if kept.len() < open.parked.len() {
                let selected: Vec<_> = (0..first).chain(kept.iter().map(|(row, _)| *row)).collect();
                if let Err(error) = open.session.select(&selected) {
                    self.poison = Some(with_sources(&error));
                    return Err(error);
                }
                open.parked = kept.into_iter().map(|(_, parked)| parked).collect();
            }
        }
        Ok(())
    }

    /// A prompt as a row of a model's engine; `None` for an opaque source.
    fn row_of(&self, model: usize, inputs: &Inputs) -> Option<EngineRow> {
        let Model::Engine { adapter, .. } = self.models[model].model else { return None };
        let tokens = inputs.ids(&self.models[model].name, 0).ok()?.to_vec();
        Some(EngineRow { adapter, tokens })
    }
}
