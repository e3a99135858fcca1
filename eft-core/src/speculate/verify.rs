//! Verification: the target scores the drafted tokens and decides how many of them are accepted.
use std::ops::Range;

use super::acceptance::{Acceptance, Accepted, TargetRows, Verdict};
use super::agreement::by_agreement;
use super::draft::{DRAFT, Draft, TARGET};
use super::rejection::by_rejection;
use crate::Result;
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::scored_position::scored_positions;
use crate::sample::{Sampler, Token};
use crate::scores::consecutive;

/// The result of verifying a draft.
pub(super) struct Verified {
    /// For each row the accepted tokens and one of the target's own, except after a token that ends the text.
    pub(super) tokens: Vec<Vec<Token>>,
    /// How each row's draft was judged.
    pub(super) verdicts: Vec<Verdict>,
}

/// Verifies every row of a draft. Greedy rows accept by agreement, also beside rows that accept by rejection.
///
/// `alone` says that the draft contains a model of the target that shares no session with the target's other models.
/// Its score row after the last token that it drafted then takes one more pass, which runs only if all tokens are accepted.
pub(super) fn verify<B: Backend>(
    evaluator: &mut Evaluator<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    acceptance: Acceptance,
    alone: bool,
) -> Result<Verified> {
    let mut at: Vec<_> = draft
        .rows
        .iter()
        .zip(&draft.starts)
        .map(|(row, start)| *start..start + row.tokens.len() + usize::from(!row.ends))
        .collect();
    if alone && draft.passes() > 0 {
        evaluator.run_without(TARGET, DRAFT, &at)?;
        // The position after the last token that the model drafted is left out, since it has no scores there yet. A row
        // for which nothing was drafted keeps its only position: the target chooses its token there, as in a plain step.
        // Tokens that it has not drafted it has not read either, so that a pass over all of them is needed in any case.
        for (at, row) in at.iter_mut().zip(&draft.rows).filter(|(_, row)| !row.is_certain()) {
            at.end = at.start + row.tokens.len().max(1);
        }
    }
    let scores = evaluator.eval(TARGET, &at)?;
    let width = scores.width();
    let positions = scored_positions(&scores, &draft.starts);
    let prepared = sampler.prepare(&positions, width)?;
    let rows = prepared.rows(&positions);
    let target = TargetRows { positions, rows, width, of_row: consecutive(at.iter().map(Range::len)) };
    let agreeing = |row: &usize| acceptance == Acceptance::Agreement || sampler.is_greedy(*row);
    let (agreeing, rejecting): (Vec<_>, Vec<_>) = (0..draft.rows.len()).partition(agreeing);
    let mut accepted = Accepted::new(draft.rows.len());
    by_agreement(sampler, draft, &target, &agreeing, &mut accepted)?;
    by_rejection(evaluator.backend(), sampler, draft, &target, &rejecting, &mut accepted)?;
    // Their scores come in the order of the rows.
    accepted.whole.sort_unstable();
    let whole = accepted.whole.clone();
    let mut verified = build_tokens(accepted, sampler, width)?;
    for (row, token) in whole.iter().zip(next_tokens(evaluator, sampler, draft, &whole)?) {
        verified.tokens[*row].push(token);
    }
    Ok(verified)
}

/// Returns the target's own token after the drafts of these rows, chosen as in plain decoding.
fn next_tokens<B: Backend>(
    evaluator: &mut Evaluator<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    rows: &[usize],
) -> Result<Vec<Token>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let scores = evaluator.eval(TARGET, &draft.ends_of(rows))?;
    let ends: Vec<_> = (0..draft.rows.len()).map(|row| draft.end(row)).collect();
    sampler.choose(&scored_positions(&scores, &ends), scores.width())
}

/// Builds the reported tokens of the accepted picks.
fn build_tokens<B: Backend>(
    accepted: Accepted<'_, B>,
    sampler: &Sampler<B>,
    width: usize,
) -> Result<Verified> {
    let lengths: Vec<_> = accepted.rows.iter().map(Vec::len).collect();
    let (positions, picks): (Vec<_>, Vec<_>) = accepted.rows.into_iter().flatten().unzip();
    let mut tokens = sampler.build_tokens(&positions, &picks, width)?.into_iter();
    let tokens = lengths.into_iter().map(|length| tokens.by_ref().take(length).collect()).collect();
    Ok(Verified { tokens, verdicts: accepted.verdicts })
}
