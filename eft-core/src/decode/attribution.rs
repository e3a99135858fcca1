//! Attribution: the contribution of each term to the choice of a token over its rivals.
use crate::Result;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::{Attribution, TermShare, Token};

/// Attributes the chosen tokens of each row, the first of which follows `starts[row]` tokens, to the terms of an
/// evaluator's first root. Each token is compared with its `rivals[row]` likeliest rivals; a row without a number is left
/// out.
pub(super) fn attribute<B: Backend>(
    evaluator: &mut Evaluator<B>,
    chosen: &mut [Vec<Token>],
    rivals: &[Option<usize>],
    starts: &[usize],
) -> Result<()> {
    let Some(most) = rivals.iter().flatten().max() else { return Ok(()) };
    let of_row = |((tokens, start), rivals): ((&Vec<_>, &usize), &Option<_>)| {
        *start..start + rivals.map_or(0, |_| tokens.len())
    };
    let at: Vec<_> = chosen.iter().zip(starts).zip(rivals).map(of_row).collect();
    let scores = evaluator.eval(0, &at)?;
    let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
    // One more than requested, since the token itself may be among them.
    let top = evaluator.backend().top(&rows, most.saturating_add(1), scores.width())?;
    let of_rows = chosen.iter_mut().zip(rivals).filter_map(|(tokens, rivals)| Some((tokens, (*rivals)?)));
    let (mut tokens, counts): (Vec<_>, Vec<_>) =
        of_rows.flat_map(|(tokens, rivals)| tokens.iter_mut().map(move |token| (token, rivals))).unzip();
    let rivals: Vec<Vec<_>> = tokens
        .iter()
        .zip(counts)
        .zip(top)
        .map(|((token, count), top)| {
            top.iter().map(|pick| pick.token).filter(|id| *id != token.id).take(count).collect()
        })
        .collect();
    let lists: Vec<_> =
        tokens.iter().zip(&rivals).map(|(token, rivals)| [&[token.id], &rivals[..]].concat()).collect();
    let terms = evaluator.term_log_probs(0, &at, &lists)?;
    for (index, (token, rivals)) in tokens.iter_mut().zip(rivals).enumerate() {
        // The first log-probability of each list is that of the token, the others are those of its rivals.
        let shares = terms.iter().filter_map(|term| {
            let (token, rivals) = term.log_probs.as_ref()?.get(index)?.split_first()?;
            Some(TermShare::new(&term.name, term.weight, *token, rivals))
        });
        token.attribution = Some(Attribution::new(rivals, shares.collect()));
    }
    Ok(())
}
