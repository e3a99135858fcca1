//! Logits of several passes as the scores of a session.
use eft_core::{Backend, Form, Result, ScoreRow, Scores, Term};

use super::Graph;

/// The logits of a pass.
pub(super) struct Part<G: Graph> {
    pub(super) logits: <G::Backend as Backend>::Tensor,
    /// Which row a position belongs to, and which row of the logits it is; positions in their order.
    pub(super) owners: Vec<(usize, usize)>,
}

/// The scores of a batch of so many rows. Parts are in the order of their positions.
pub(super) fn scores<G: Graph>(
    graph: &G,
    parts: Vec<Part<G>>,
    rows: usize,
    width: usize,
) -> Result<Scores<G::Backend>> {
    let backend = graph.backend();
    let owners = parts
        .iter()
        .enumerate()
        .flat_map(|(part, Part { owners, .. })| owners.iter().map(move |(row, index)| (*row, part, *index)));
    let mut order: Vec<_> = owners.collect();
    order.sort_unstable();
    if order.is_empty() {
        return Ok(Scores::none(rows, width, Form::Logits));
    }
    // As they are, unless most of what would be kept is not wanted.
    if let [part] = &parts[..]
        && 2 * order.len() >= backend.shape(&part.logits).0
    {
        let mut spans = vec![0..0; rows];
        for of_row in order.chunk_by(|a, b| a.0 == b.0) {
            let (row, _, first) = of_row[0];
            spans[row] = first..first + of_row.len();
        }
        return Ok(Scores::new(backend.shallow_clone(&part.logits), spans, width, Form::Logits));
    }
    let picked = order.iter().map(|(_, part, index)| ScoreRow::new(&parts[*part].logits, *index)).collect();
    let tensor = backend.linear(&[Term { weight: 1.0, rows: picked }], width)?;
    let start = |row: usize| order.partition_point(|(owner, ..)| *owner < row);
    let spans = (0..rows).map(|row| start(row)..start(row + 1)).collect();
    Ok(Scores::new(tensor, spans, width, Form::Logits))
}
