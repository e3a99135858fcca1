use super::acceptance::{Accepted, TargetRows};
use super::draft::Draft;
use crate::Result;
use crate::backend::Backend;
use crate::sample::{Purpose, Sampler};

/// Accepts the drafted tokens as long as the target picks the same ones; then comes the target's own pick.
pub(super) fn by_agreement<'a, B: Backend>(
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    target: &TargetRows<'a, B>,
) -> Result<Accepted<'a, B>> {
    let picks = sampler.pick(&target.rows, &target.positions, Purpose::Draw, target.width)?;
    let mut accepted = Accepted::new(draft.rows.len());
    for (row, (drafted, range)) in draft.rows.iter().zip(&target.of_row).enumerate() {
        let own = target.positions[range.clone()].iter().zip(&picks[range.clone()]);
        // A NaN log-prob marks a pick from an unsound score row. Its token id is meaningless, even if it equals the
        // draft's.
        let agrees =
            |((_, pick), token): &((_, &crate::Pick), &u32)| pick.token == **token && !pick.log_prob.is_nan();
        let agreeing = own.clone().zip(&drafted.tokens).take_while(agrees).count();
        accepted.count(agreeing, drafted.tokens.len());
        if agreeing == range.len() && !drafted.ends {
            accepted.whole.push(row);
        }
        own.take(agreeing + 1).for_each(|(position, pick)| accepted.push(*position, *pick));
    }
    Ok(accepted)
}
