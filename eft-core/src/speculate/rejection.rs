use super::draft::Draft;
use super::verify::{Asked, Standing};
use crate::backend::{Backend, Pick, score_rows};
use crate::sample::{Purpose, Sampler};
use crate::{Result, TokenId};

/// A drafted token stands with probability `min(1, p / q)`, where it was drawn from `q` and the target would draw it
/// from `p`. The first that does not is replaced by one from what `p` has more than `q`.
pub(super) fn by_rejection<'a, B: Backend>(
    backend: &B,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    asked: &Asked<'a, B>,
) -> Result<Standing<'a, B>> {
    let of_target = target_log_probs(backend, draft, asked)?;
    let mut standing = Standing::new(draft.rows.len());
    // The first token of a row that does not stand; and the spots behind drafts of which all do.
    let (mut rejected, mut own) = (Vec::new(), Vec::new());
    for (row, (drafted, range)) in draft.rows.iter().zip(&asked.of_row).enumerate() {
        let mut accepted = 0;
        while let Some(&token) = drafted.tokens.get(accepted) {
            let spot = asked.spots[range.start + accepted];
            let (p, q) = (of_target[row][accepted], drafted.log_probs[accepted]);
            // An unsound row stands, to be refused for what it is.
            if sampler.uniform(row, spot.position, Purpose::Accept) >= f64::from(p - q).exp() {
                rejected.push((row, accepted));
                break;
            }
            standing.push(spot, Pick { token, log_prob: p });
            accepted += 1;
        }
        standing.count(accepted, drafted.tokens.len());
        if accepted == drafted.tokens.len() && !drafted.ends {
            if range.len() > accepted { own.push(range.end - 1) } else { standing.whole.push(row) }
        }
    }
    replace(&rejected, backend, sampler, draft, asked, &mut standing)?;
    if !own.is_empty() {
        let spots: Vec<_> = own.iter().map(|i| asked.spots[*i]).collect();
        let rows: Vec<_> = own.iter().map(|i| asked.rows[*i]).collect();
        let picks = sampler.pick(&rows, &spots, Purpose::Draw, asked.width)?;
        spots.into_iter().zip(picks).for_each(|(spot, pick)| standing.push(spot, pick));
    }
    Ok(standing)
}

/// Draws another token for each one that was rejected.
fn replace<'a, B: Backend>(
    rejected: &[(usize, usize)],
    backend: &B,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    asked: &Asked<'a, B>,
    standing: &mut Standing<'a, B>,
) -> Result<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    let width = asked.width;
    let index: Vec<_> = rejected.iter().map(|(row, i)| asked.of_row[*row].start + i).collect();
    let spots: Vec<_> = index.iter().map(|i| asked.spots[*i]).collect();
    let target: Vec<_> = index.iter().map(|i| asked.rows[*i]).collect();
    let drafts: Vec<_> = rejected.iter().filter_map(|(row, i)| draft.drawn_from(*row, *i)).collect();
    let residual = backend.residual(&target, &drafts, width)?;
    let picks = sampler.pick(&score_rows(&residual, spots.len()), &spots, Purpose::Residual, width)?;
    // What is told of a token is its probability under the target, not in what was left of it.
    let tokens: Vec<_> = picks.iter().map(|p| vec![p.token.min(width as TokenId - 1)]).collect();
    let log_probs = backend.log_probs(&target, &tokens, width)?.into_iter().flatten();
    for ((spot, pick), log_prob) in spots.into_iter().zip(picks).zip(log_probs) {
        let log_prob = if pick.log_prob.is_nan() { f32::NAN } else { log_prob };
        standing.push(spot, Pick { log_prob, ..pick });
    }
    Ok(())
}

/// For each row, the log-probabilities of its drafted tokens under the target.
fn target_log_probs<B: Backend>(
    backend: &B,
    draft: &Draft<B>,
    asked: &Asked<'_, B>,
) -> Result<Vec<Vec<f32>>> {
    let (mut rows, mut tokens) = (Vec::new(), Vec::new());
    for (drafted, range) in draft.rows.iter().zip(&asked.of_row) {
        rows.extend(asked.rows[range.clone()].iter().take(drafted.tokens.len()).copied());
        tokens.extend(drafted.tokens.iter().map(|token| vec![*token]));
    }
    if rows.is_empty() {
        return Ok(vec![Vec::new(); draft.rows.len()]);
    }
    let mut log_probs = backend.log_probs(&rows, &tokens, asked.width)?.into_iter().flatten();
    Ok(draft.rows.iter().map(|row| log_probs.by_ref().take(row.tokens.len()).collect()).collect())
}
