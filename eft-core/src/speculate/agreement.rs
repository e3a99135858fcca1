use super::acceptance::{Accepted, TargetRows};
use super::draft::Draft;
use crate::Result;
use crate::backend::Backend;
use crate::sample::{Purpose, Sampler};

/// Accepts the drafted tokens of some rows as long as the target picks the same ones; then comes the target's own pick.
pub(super) fn by_agreement<'a, B: Backend>(
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    target: &TargetRows<'a, B>,
    rows: &[usize],
    accepted: &mut Accepted<'a, B>,
) -> Result<()> {
    let index: Vec<_> = rows.iter().flat_map(|row| target.of_row[*row].clone()).collect();
    let of_target: Vec<_> = index.iter().map(|i| target.rows[*i]).collect();
    let positions: Vec<_> = index.iter().map(|i| target.positions[*i]).collect();
    let picks = sampler.pick(&of_target, &positions, Purpose::Draw, target.width)?;
    let mut picked = positions.into_iter().zip(picks);
    for &row in rows {
        let (drafted, length) = (&draft.rows[row], target.of_row[row].len());
        let own: Vec<_> = picked.by_ref().take(length).collect();
        // A NaN log-prob marks a pick from an unsound score row. Its token id is meaningless, even if it equals the
        // draft's.
        let agrees =
            |((_, pick), token): &(&(_, crate::Pick), &u32)| pick.token == **token && !pick.log_prob.is_nan();
        let agreeing = own.iter().zip(&drafted.tokens).take_while(agrees).count();
        accepted.judge(row, agreeing, drafted.tokens.len());
        if agreeing == length && !drafted.ends {
            accepted.whole.push(row);
        }
        own.into_iter().take(agreeing + 1).for_each(|(position, pick)| accepted.push(position, pick));
    }
    Ok(())
}
