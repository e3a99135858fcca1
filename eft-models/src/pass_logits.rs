//! [`PassLogits`]: the logits of one forward pass, and how those of several become the scores of a session.

use eft_core::scores::consecutive;
use eft_core::{Backend, Form, Result, ScoreRow, Scores, Term};

/// The logits of one forward pass.
pub(crate) struct PassLogits<B: Backend> {
    /// Positions × vocabulary.
    pub(crate) logits: B::Tensor,
    /// For each wanted position, the row of the batch that it belongs to and its index in `logits`. The positions of a
    /// row are adjacent in `logits`, in ascending order.
    pub(crate) owners: Vec<(usize, usize)>,
}

/// Collects the logits of several passes, in the order in which they ran, as the scores of a batch of `rows` rows.
pub(crate) fn collect<B: Backend>(
    backend: &B,
    mut passes: Vec<PassLogits<B>>,
    rows: usize,
    width: usize,
) -> Result<Scores<B>> {
    // Sorted by row of the batch, then by pass, then by index: the positions of each row in their order.
    let positions = passes
        .iter()
        .enumerate()
        .flat_map(|(pass, PassLogits { owners, .. })| owners.iter().map(move |&(row, i)| (row, pass, i)));
    let mut order: Vec<_> = positions.collect();
    order.sort_unstable();
    if order.is_empty() {
        return Ok(Scores::none(rows, width, Form::Logits));
    }
    // A single pass is used as it is, unless more than half of its positions are not wanted.
    if let [pass] = &passes[..]
        && 2 * order.len() >= backend.shape(&pass.logits).0
    {
        let mut spans = vec![0..0; rows];
        for of_row in order.chunk_by(|a, b| a.0 == b.0) {
            let (row, _, first) = of_row[0];
            spans[row] = first..first + of_row.len();
        }
        return Ok(Scores::new(passes.remove(0).logits, spans, width, Form::Logits));
    }
    let wanted = order.iter().map(|(_, pass, index)| ScoreRow::new(&passes[*pass].logits, *index)).collect();
    let tensor = backend.linear(&[Term { weight: 1.0, rows: wanted }], width)?;
    let mut lengths = vec![0; rows];
    order.iter().for_each(|(row, ..)| lengths[*row] += 1);
    Ok(Scores::new(tensor, consecutive(lengths), width, Form::Logits))
}

#[cfg(test)]
mod tests {
    use eft_core::Host;

    use super::*;

    /// A pass with the given numbers as logits, one for each position, as a vocabulary of one token.
    fn pass(numbers: &[f32], owners: &[(usize, usize)]) -> PassLogits<Host> {
        PassLogits { logits: Host.upload(numbers, 1).unwrap(), owners: owners.to_vec() }
    }

    fn collected(passes: Vec<PassLogits<Host>>) -> Vec<Vec<f32>> {
        let scores = collect(&Host, passes, 3, 1).unwrap();
        (0..3).map(|row| Host.download(&scores.positions(row), 1).unwrap_or_default()).collect()
    }

    #[test]
    fn positions_of_a_row_follow_each_other_across_passes() {
        let first = pass(&[1.0, 2.0, 3.0], &[(0, 0), (2, 1), (2, 2)]);
        let second = pass(&[4.0, 5.0], &[(0, 1), (2, 0)]);
        assert_eq!(collected(vec![first, second]), [vec![1.0, 5.0], vec![], vec![2.0, 3.0, 4.0]]);
    }

    #[test]
    fn a_single_pass_may_hold_positions_that_are_not_wanted() {
        let most_wanted = pass(&[1.0, 2.0, 3.0], &[(1, 1), (1, 2)]);
        assert_eq!(collected(vec![most_wanted]), [vec![], vec![2.0, 3.0], vec![]]);
        let few_wanted = pass(&[1.0, 2.0, 3.0], &[(1, 2)]);
        assert_eq!(collected(vec![few_wanted]), [vec![], vec![3.0], vec![]]);
        assert_eq!(collected(Vec::new()), [vec![], vec![], vec![0.0; 0]]);
    }
}
