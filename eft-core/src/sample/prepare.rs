//! Processors, temperature, filters and truncations: from the scores of a combination to those that tokens are drawn from.
use std::sync::Arc;

use super::groups::{groups, some};
use super::prepared::Prepared;
use super::sampler::Sampler;
use super::scored_position::ScoredPosition;
use super::truncation::truncated;
use super::uniform::Purpose;
use crate::backend::Backend;
use crate::{Error, Result};

impl<B: Backend> Sampler<B> {
    /// Applies processors, temperature, filters and truncations. Positions of rows with equal settings are changed together.
    pub(crate) fn prepare(&self, positions: &[ScoredPosition<'_, B>], width: usize) -> Result<Prepared<B>> {
        let mut prepared = Prepared::unchanged(positions.len());
        self.process(positions, width, &mut prepared)?;
        let filter = |p: &ScoredPosition<'_, B>| {
            self.rows[p.row].sampling().sampling.filter().filter(|filter| !filter.is_identity())
        };
        for (filter, which) in groups(positions.iter().map(filter), |a, b| a == b) {
            let rows = some(&prepared.rows(positions), &which);
            let filtered = self.backend.filter(&rows, &filter, width)?;
            prepared.replace(&which, filtered);
        }
        for stage in 0.. {
            let at_stage = |p: &ScoredPosition<'_, B>| {
                self.rows[p.row].sampling().active_truncations().get(stage).cloned()
            };
            let groups = groups(positions.iter().map(at_stage), Arc::ptr_eq);
            if groups.is_empty() {
                break;
            }
            for (truncation, which) in groups {
                let place = |index: &usize| {
                    let ScoredPosition { row, position, .. } = positions[*index];
                    let history = self.rows[row].history(position);
                    (history, self.uniform(row, position, Purpose::Truncate))
                };
                let places: Vec<_> = which.iter().map(place).collect();
                let rows = some(&prepared.rows(positions), &which);
                if let Some(cut) = truncated(&self.backend, truncation.as_ref(), &rows, &places, width)? {
                    prepared.replace(&which, cut);
                }
            }
        }
        Ok(prepared)
    }

    /// Applies the processors.
    fn process(
        &self,
        positions: &[ScoredPosition<'_, B>],
        width: usize,
        prepared: &mut Prepared<B>,
    ) -> Result<()> {
        let processed = |index: &usize| !self.rows[positions[*index].row].sampling().processors.is_empty();
        let which: Vec<_> = (0..positions.len()).filter(processed).collect();
        if which.is_empty() {
            return Ok(());
        }
        let edits = which.iter().map(|index| {
            let ScoredPosition { row, position, .. } = positions[*index];
            let of_row = self.rows[row].processors(position);
            let edits = of_row.map(|(processor, history)| processor.edits(&history));
            Ok(edits.collect::<Result<Vec<_>>>()?.concat())
        });
        let edits = edits.collect::<Result<Vec<_>>>()?;
        // The scores are edited in the form in which they are: a penalty that depends on the sign of a score acts on
        // raw logits where the models give those.
        let edited = self.backend.edit(&some(&prepared.rows(positions), &which), &edits, width);
        // The backend counts the rows that it was given, which are some of the positions here.
        let edited = edited.map_err(|error| match error {
            Error::TokenOutOfRange { row, token, limit, .. } if row < which.len() => {
                let ScoredPosition { row, position, .. } = positions[which[row]];
                Error::EditOutOfRange { row, position, token, limit }
            }
            other => other,
        })?;
        prepared.replace(&which, edited);
        Ok(())
    }
}
