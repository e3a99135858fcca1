use std::sync::Arc;

use super::index::{Index, Occurrence};
use super::{Lookup, Lookups};
use crate::TokenId;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::Sampler;
use crate::speculate::draft::TARGET;
use crate::speculate::scheduler::{Match, Tally};

/// Lookups for the rows of a batch.
pub(in crate::speculate) struct LookupDraft {
    lookups: Lookups,
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    /// Shared by rows that have the same text so far.
    index: Arc<Index>,
    /// What was found last, whether or not it was used.
    found: Option<Occurrence>,
}

/// What was found for a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::speculate) struct Found {
    row: usize,
    at: Occurrence,
    pub(in crate::speculate) kind: Match,
}

impl Lookups {
    /// The index of a row with this prompt and no text yet.
    fn index(&self, prompt: &[TokenId]) -> Index {
        Index::new(self.lookup, self.earlier.clone(), prompt)
    }
}

impl LookupDraft {
    /// Opens lookups on the prompts of an evaluator's rows.
    pub(in crate::speculate) fn open<B: Backend>(lookups: Lookups, evaluator: &Evaluator<B>) -> Self {
        let mut opened = Self { lookups, rows: Vec::new() };
        opened.join(evaluator);
        opened
    }

    /// Takes in the rows that the evaluator has after those that there were.
    pub(in crate::speculate) fn join<B: Backend>(&mut self, evaluator: &Evaluator<B>) {
        for row in self.rows.len()..evaluator.rows() {
            let prompt = evaluator.longest_prompt(TARGET, row);
            let same = self.rows.last().map(|row| &row.index).filter(|index| index.text_len() == 0);
            let index = match same.filter(|index| index.prompt() == prompt) {
                Some(index) => index.clone(),
                None => Arc::new(self.lookups.index(prompt)),
            };
            self.rows.push(Row { index, found: None });
        }
    }

    /// Makes row `i` the former row `rows[i]`.
    pub(in crate::speculate) fn select(&mut self, rows: &[usize]) {
        if !rows.is_empty() {
            self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        }
    }

    /// Reads the texts so far, and counts how many tokens of what was found last they have gone on with, by the kind of match.
    pub(in crate::speculate) fn follow<B: Backend>(&mut self, sampler: &Sampler<B>) -> [Tally; Match::KINDS] {
        let mut tallies = [Tally::default(); Match::KINDS];
        for (row, Row { index, found }) in self.rows.iter_mut().enumerate() {
            let text = sampler.generated(row);
            if text.len() < index.text_len() {
                // A step that failed has been undone.
                (*index, *found) = (Arc::new(self.lookups.index(index.prompt())), None);
            }
            let new = &text[index.text_len()..];
            if new.is_empty() {
                continue;
            }
            let (accepted, judged) = Arc::make_mut(index).judge(*found, new);
            if let Some(found) = found.take() {
                tallies[kind(self.lookups.lookup, found).index()].add(accepted, judged);
            }
        }
        tallies
    }

    /// Looks up the last tokens of each row.
    pub(in crate::speculate) fn find(&mut self) -> Vec<Option<Found>> {
        let lookup = self.lookups.lookup;
        let find = |(row, of_row): (usize, &mut Row)| {
            of_row.found = of_row.index.find();
            of_row.found.map(|at| Found { row, at, kind: kind(lookup, at) })
        };
        self.rows.iter_mut().enumerate().map(find).collect()
    }

    /// The tokens that followed what was found.
    pub(in crate::speculate) fn tokens(&self, found: &Found, length: usize) -> Vec<TokenId> {
        self.rows[found.row].index.continuation(found.at, length)
    }
}

fn kind(lookup: Lookup, found: Occurrence) -> Match {
    if found.length == lookup.greatest { Match::Long } else { Match::Short }
}
