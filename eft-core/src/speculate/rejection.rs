use super::acceptance::{Accepted, TargetRows};
use super::draft::Draft;
use crate::backend::{Backend, Edit, Pick, score_rows};
use crate::sample::{Purpose, Sampler};
use crate::{Result, TokenId};

/// Speculative sampling of some rows: Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318.
///
/// A token `x` that was drawn from the draft's distribution `q` is accepted with probability `min(1, p(x) / q(x))`,
/// where `p` is the target's distribution. The first token that is rejected is replaced by one drawn from the residual
/// distribution `max(p − q, 0) / Σ max(p − q, 0)`. The tokens are then distributed as if drawn from `p`. A token that was not
/// drawn has `q = 1`.
pub(super) fn by_rejection<'a, B: Backend>(
    backend: &B,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    target: &TargetRows<'a, B>,
    rows: &[usize],
    result: &mut Accepted<'a, B>,
) -> Result<()> {
    let log_probs = target_log_probs(backend, draft, target, rows)?;
    // `rejected` lists each row's first rejected token. `own` lists the positions after drafts of which every token was
    // accepted: there the target draws a token of its own.
    let (mut rejected, mut own) = (Vec::new(), Vec::new());
    for (&row, log_probs) in rows.iter().zip(&log_probs) {
        let (drafted, range) = (&draft.rows[row], &target.of_row[row]);
        let mut accepted = 0;
        while let Some(&token) = drafted.tokens.get(accepted) {
            let position = target.positions[range.start + accepted];
            let (p, q) = (log_probs[accepted], drafted.log_probs[accepted]);
            // If the target's score row is unsound, `p` is NaN and this comparison is false. The token is then recorded
            // with a NaN log-prob, for which `Sampler::build_tokens` returns the error.
            if sampler.uniform(row, position.position, Purpose::Accept) >= f64::from(p - q).exp() {
                rejected.push((row, accepted));
                break;
            }
            result.push(position, Pick { token, log_prob: p });
            accepted += 1;
        }
        result.judge(row, accepted, drafted.tokens.len());
        if accepted == drafted.tokens.len() && !drafted.ends {
            if range.len() > accepted { own.push(range.end - 1) } else { result.whole.push(row) }
        }
    }
    // A token that was not drawn is replaced in another way than one that was.
    let (certain, drawn): (Vec<_>, Vec<_>) =
        rejected.into_iter().partition(|(row, _)| draft.rows[*row].is_certain());
    replace(&certain, true, backend, sampler, draft, target, result)?;
    replace(&drawn, false, backend, sampler, draft, target, result)?;
    if !own.is_empty() {
        let positions: Vec<_> = own.iter().map(|i| target.positions[*i]).collect();
        let rows: Vec<_> = own.iter().map(|i| target.rows[*i]).collect();
        let picks = sampler.pick(&rows, &positions, Purpose::Draw, target.width)?;
        positions.into_iter().zip(picks).for_each(|(position, pick)| result.push(position, pick));
    }
    Ok(())
}

/// Draws a token from the residual distribution in place of each rejected one. All of them were certain, or none.
fn replace<'a, B: Backend>(
    rejected: &[(usize, usize)],
    certain: bool,
    backend: &B,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    target: &TargetRows<'a, B>,
    accepted: &mut Accepted<'a, B>,
) -> Result<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    let width = target.width;
    let index: Vec<_> = rejected.iter().map(|(row, i)| target.of_row[*row].start + i).collect();
    let positions: Vec<_> = index.iter().map(|i| target.positions[*i]).collect();
    let of_target: Vec<_> = index.iter().map(|i| target.rows[*i]).collect();
    let residual = match certain {
        // What is left of the target's distribution is that without the rejected token.
        true => {
            let token = |(row, i): &(usize, usize)| draft.rows[*row].tokens[*i];
            let edits: Vec<_> =
                rejected.iter().map(|at| vec![Edit::Bias(vec![(token(at), f32::NEG_INFINITY)])]).collect();
            backend.edit(&of_target, &edits, width)?
        }
        false => {
            let of_draft: Vec<_> =
                rejected.iter().filter_map(|(row, i)| draft.distribution(*row, *i)).collect();
            backend.residual(&of_target, &of_draft, width)?
        }
    };
    let picks =
        sampler.pick(&score_rows(&residual, positions.len()), &positions, Purpose::Residual, width)?;
    // The log-probability that is reported is the one under the target, not the one in the residual distribution.
    let tokens: Vec<_> = picks.iter().map(|p| vec![p.token.min(width as TokenId - 1)]).collect();
    let log_probs = backend.log_probs(&of_target, &tokens, width)?.into_iter().flatten();
    for ((position, pick), log_prob) in positions.into_iter().zip(picks).zip(log_probs) {
        let log_prob = if pick.log_prob.is_nan() { f32::NAN } else { log_prob };
        accepted.push(position, Pick { log_prob, ..pick });
    }
    Ok(())
}

/// Returns for each of the rows the log-probabilities of its drafted tokens under the target.
fn target_log_probs<B: Backend>(
    backend: &B,
    draft: &Draft<B>,
    target: &TargetRows<'_, B>,
    rows: &[usize],
) -> Result<Vec<Vec<f32>>> {
    let (mut of_target, mut tokens) = (Vec::new(), Vec::new());
    for &row in rows {
        let drafted = &draft.rows[row].tokens;
        of_target.extend(target.rows[target.of_row[row].clone()].iter().take(drafted.len()).copied());
        tokens.extend(drafted.iter().map(|token| vec![*token]));
    }
    if of_target.is_empty() {
        return Ok(vec![Vec::new(); rows.len()]);
    }
    let mut log_probs = backend.log_probs(&of_target, &tokens, target.width)?.into_iter().flatten();
    let length = |row: &usize| draft.rows[*row].tokens.len();
    Ok(rows.iter().map(|row| log_probs.by_ref().take(length(row)).collect()).collect())
}
