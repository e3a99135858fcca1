//! Score rows after processors, temperature, filters and truncations.
use super::scored_position::ScoredPosition;
use crate::backend::{Backend, ScoreRow};

/// The score rows that tokens are drawn from, for a list of positions. Those that nothing has changed are the positions' own.
pub(crate) struct Prepared<B: Backend> {
    /// The results of operations; `None` for those of which no row is needed any more.
    tensors: Vec<Option<B::Tensor>>,
    /// For each position, the tensor that holds its row, and the row there.
    places: Vec<Option<(usize, usize)>>,
}

impl<B: Backend> Prepared<B> {
    /// The positions' own rows.
    pub(super) fn unchanged(positions: usize) -> Self {
        Self { tensors: Vec::new(), places: vec![None; positions] }
    }

    /// Replaces the rows of some positions by those of a tensor.
    pub(super) fn replace(&mut self, which: &[usize], tensor: B::Tensor) {
        let index = self.tensors.len();
        self.tensors.push(Some(tensor));
        which.iter().enumerate().for_each(|(row, position)| self.places[*position] = Some((index, row)));
        for (index, tensor) in self.tensors.iter_mut().enumerate() {
            if !self.places.iter().flatten().any(|(used, _)| *used == index) {
                *tensor = None;
            }
        }
    }

    /// The row of a position, if it was changed.
    pub(crate) fn changed(&self, position: usize) -> Option<ScoreRow<'_, B>> {
        let (tensor, row) = (*self.places.get(position)?)?;
        Some(ScoreRow::new(self.tensors[tensor].as_ref()?, row))
    }

    /// The rows of all positions.
    pub(crate) fn rows<'a>(&'a self, positions: &[ScoredPosition<'a, B>]) -> Vec<ScoreRow<'a, B>> {
        let row = |(index, position): (usize, &ScoredPosition<'a, B>)| {
            self.changed(index).unwrap_or(position.scores)
        };
        positions.iter().enumerate().map(row).collect()
    }
}
