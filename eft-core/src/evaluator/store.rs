//! The scores that a model has returned and that may still be requested, by row and position.
use std::collections::BTreeMap;

use crate::backend::{Backend, ScoreRow};
use crate::scores::Coverage;
use crate::{Form, Scores};

pub(crate) struct ScoreStore<B: Backend> {
    /// The scores of each pass; `None` once no position refers to them.
    chunks: Vec<Option<Scores<B>>>,
    /// For each row of the batch: position → (index of the chunk, row of its tensor).
    rows: Vec<BTreeMap<usize, (usize, usize)>>,
}

impl<B: Backend> ScoreStore<B> {
    pub(crate) fn new(rows: usize) -> Self {
        Self { chunks: Vec::new(), rows: vec![BTreeMap::new(); rows] }
    }

    /// Stores scores whose first position of row `i` is `starts[i]`.
    pub(crate) fn insert(&mut self, scores: Scores<B>, starts: &[usize]) {
        let free = self.chunks.iter().position(Option::is_none);
        let chunk = free.unwrap_or(self.chunks.len());
        for ((row, span), start) in self.rows.iter_mut().zip(scores.spans()).zip(starts) {
            row.extend(span.clone().enumerate().map(|(i, index)| (start + i, (chunk, index))));
        }
        match free {
            Some(_) => self.chunks[chunk] = Some(scores),
            None => self.chunks.push(Some(scores)),
        }
        self.forget_unused();
    }

    pub(crate) fn has(&self, row: usize, position: usize) -> bool {
        self.locate(row, position).is_some()
    }

    pub(crate) fn get(&self, row: usize, position: usize) -> Option<ScoreRow<'_, B>> {
        let (chunk, index) = self.locate(row, position)?;
        Some(ScoreRow::new(self.chunks[chunk].as_ref()?.tensor()?, index))
    }

    /// What the model reports to know at a position: see [`Scores::coverage`].
    pub(crate) fn coverage(&self, row: usize, position: usize) -> Option<Coverage> {
        let (chunk, index) = self.locate(row, position)?;
        self.chunk(chunk)?.coverage_at(index)
    }

    /// The chunk and the row of its tensor that hold a position.
    pub(crate) fn locate(&self, row: usize, position: usize) -> Option<(usize, usize)> {
        self.rows.get(row)?.get(&position).copied()
    }

    pub(crate) fn chunk(&self, chunk: usize) -> Option<&Scores<B>> {
        self.chunks.get(chunk)?.as_ref()
    }

    /// The form of the stored scores. If passes differ in form, the one that guarantees least.
    pub(crate) fn form(&self) -> Form {
        let mut forms = self.chunks.iter().flatten().map(Scores::form);
        let first = forms.next().unwrap_or(Form::Logits);
        forms.fold(first, Form::or)
    }

    /// Forgets the positions of each row after the one that follows `lengths[i]` tokens.
    pub(crate) fn truncate(&mut self, lengths: impl IntoIterator<Item = usize>) {
        for (row, length) in self.rows.iter_mut().zip(lengths) {
            row.split_off(&(length + 1));
        }
        self.forget_unused();
    }

    /// Forgets all but the last position of each row.
    pub(crate) fn keep_last(&mut self) {
        for row in &mut self.rows {
            if let Some((&last, _)) = row.last_key_value() {
                *row = row.split_off(&last);
            }
        }
        self.forget_unused();
    }

    /// Forgets all positions.
    pub(crate) fn clear(&mut self) {
        self.rows.iter_mut().for_each(BTreeMap::clear);
        self.chunks.clear();
    }

    /// Makes row `i` a copy of the former row `rows[i]`.
    pub(crate) fn select(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        self.forget_unused();
    }

    /// Returns the same scores for a batch of `rows` rows, of which those at the end have none.
    pub(crate) fn shallow_clone(&self, backend: &B, rows: usize) -> Self {
        let shared = |chunk: &Option<Scores<B>>| chunk.as_ref().map(|scores| scores.shallow_clone(backend));
        let mut of_rows = self.rows.clone();
        of_rows.resize(rows, BTreeMap::new());
        Self { chunks: self.chunks.iter().map(shared).collect(), rows: of_rows }
    }

    fn forget_unused(&mut self) {
        let mut used = vec![false; self.chunks.len()];
        for (chunk, _) in self.rows.iter().flat_map(BTreeMap::values) {
            used[*chunk] = true;
        }
        for (chunk, _) in self.chunks.iter_mut().zip(used).filter(|(_, used)| !used) {
            *chunk = None;
        }
    }
}
