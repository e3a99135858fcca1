use super::draft::Draft;
use super::verify::{Asked, Standing};
use crate::Result;
use crate::backend::Backend;
use crate::sample::{Purpose, Sampler};

/// The target picks for itself, and goes on as long as the draft has picked the same.
pub(super) fn by_agreement<'a, B: Backend>(
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    asked: &Asked<'a, B>,
) -> Result<Standing<'a, B>> {
    let picks = sampler.pick(&asked.rows, &asked.spots, Purpose::Draw, asked.width)?;
    let mut standing = Standing::new(draft.rows.len());
    for (row, (drafted, range)) in draft.rows.iter().zip(&asked.of_row).enumerate() {
        let own = asked.spots[range.clone()].iter().zip(&picks[range.clone()]);
        let agreeing = own.clone().zip(&drafted.tokens);
        // An unsound row names no token that one could agree with.
        let accepted = agreeing
            .take_while(|((_, pick), token)| pick.token == **token && !pick.log_prob.is_nan())
            .count();
        standing.count(accepted, drafted.tokens.len());
        if accepted == range.len() && !drafted.ends {
            standing.whole.push(row);
        }
        own.take(accepted + 1).for_each(|(spot, pick)| standing.push(*spot, *pick));
    }
    Ok(standing)
}
