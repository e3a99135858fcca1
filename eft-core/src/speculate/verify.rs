//! What the target makes of a draft.
use std::ops::Range;

use super::agreement::by_agreement;
use super::block::Acceptance;
use super::draft::{DRAFT, Draft};
use super::rejection::by_rejection;
use crate::Result;
use crate::backend::{Backend, Pick, ScoreRow};
use crate::evaluator::Evaluator;
use crate::sample::spot::{Spot, drawn_from, spots};
use crate::sample::{Sampler, Token};
use crate::scores::consecutive;

/// The root of the evaluator that is the target.
const TARGET: usize = 0;

/// What stands.
pub(super) struct Verdict {
    /// For each row the tokens accepted and one of the target's own, save behind a token that ends the text.
    pub(super) tokens: Vec<Vec<Token>>,
    pub(super) judged: usize,
    pub(super) accepted: usize,
}

/// Judges every row of a draft. `alone`: the target's row behind a whole draft takes another pass of the draft, and
/// is computed only where every token is accepted.
pub(super) fn verify<B: Backend>(
    evaluator: &mut Evaluator<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    acceptance: Acceptance,
    alone: bool,
) -> Result<Verdict> {
    let mut at: Vec<_> = draft
        .rows
        .iter()
        .zip(&draft.starts)
        .map(|(row, start)| *start..start + row.tokens.len() + usize::from(!row.ends))
        .collect();
    if alone {
        evaluator.run_without(TARGET, DRAFT, &at)?;
        // A row without a draft is asked for its one position.
        at.iter_mut().zip(&draft.rows).for_each(|(at, row)| at.end = at.start + row.tokens.len().max(1));
    }
    let scores = evaluator.eval(TARGET, &at)?;
    let width = scores.width();
    let spots = spots(&scores, &draft.starts);
    let prepared = sampler.prepare(&spots, width)?;
    let rows = drawn_from(&spots, prepared.as_ref());
    let asked = Asked { spots, rows, width, of_row: consecutive(at.iter().map(Range::len)) };
    let standing = match acceptance {
        Acceptance::Agreement => by_agreement(sampler, draft, &asked)?,
        Acceptance::Rejection => by_rejection(evaluator.backend(), sampler, draft, &asked)?,
    };
    let whole = standing.whole.clone();
    let mut verdict = standing.tell(sampler, prepared.is_some(), width)?;
    for (row, token) in whole.iter().zip(behind(evaluator, sampler, draft, &whole)?) {
        verdict.tokens[*row].push(token);
    }
    Ok(verdict)
}

/// The target's own token behind the drafts of these rows, as in plain decoding.
fn behind<B: Backend>(
    evaluator: &mut Evaluator<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    whole: &[usize],
) -> Result<Vec<Token>> {
    if whole.is_empty() {
        return Ok(Vec::new());
    }
    let scores = evaluator.eval(TARGET, &draft.ends_of(whole))?;
    let ends: Vec<_> = (0..draft.rows.len()).map(|row| draft.end(row)).collect();
    sampler.choose(&spots(&scores, &ends), scores.width())
}

/// What the target says of the positions of a draft.
pub(super) struct Asked<'a, B: Backend> {
    pub(super) spots: Vec<Spot<'a, B>>,
    /// What tokens are drawn from, for each spot.
    pub(super) rows: Vec<ScoreRow<'a, B>>,
    pub(super) width: usize,
    /// For each row of the batch, its spots.
    pub(super) of_row: Vec<Range<usize>>,
}

/// The tokens of each row that stand, with the places they were chosen for.
pub(super) struct Standing<'a, B: Backend> {
    rows: Vec<Vec<(Spot<'a, B>, Pick)>>,
    /// Rows whose drafts were accepted to the last token, and that were not asked what follows.
    pub(super) whole: Vec<usize>,
    judged: usize,
    accepted: usize,
}

impl<'a, B: Backend> Standing<'a, B> {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows: vec![Vec::new(); rows], whole: Vec::new(), judged: 0, accepted: 0 }
    }

    pub(super) fn push(&mut self, spot: Spot<'a, B>, pick: Pick) {
        self.rows[spot.row].push((spot, pick));
    }

    pub(super) fn count(&mut self, accepted: usize, drafted: usize) {
        self.accepted += accepted;
        self.judged += drafted.min(accepted + 1);
    }

    fn tell(self, sampler: &Sampler<B>, prepared: bool, width: usize) -> Result<Verdict> {
        let lengths: Vec<_> = self.rows.iter().map(Vec::len).collect();
        let (spots, picks): (Vec<_>, Vec<_>) = self.rows.into_iter().flatten().unzip();
        let mut told = sampler.tell(&spots, &picks, prepared, width)?.into_iter();
        let tokens = lengths.into_iter().map(|length| told.by_ref().take(length).collect()).collect();
        Ok(Verdict { tokens, judged: self.judged, accepted: self.accepted })
    }
}
