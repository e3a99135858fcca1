//! What the target makes of a draft.
use std::ops::Range;

use super::block::Acceptance;
use super::draft::{DRAFT, Draft};
use crate::backend::{Backend, Pick, Row, rows_of};
use crate::joint::Joint;
use crate::sample::spot::{Spot, drawn_from, spots};
use crate::sample::{Purpose, Sampler, Token};
use crate::{Result, Scores, TokenId};

/// The root of the joint that is the target.
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
    joint: &mut Joint<B>,
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
        joint.run_without(TARGET, DRAFT, &at)?;
        // A row without a draft is asked for its one position.
        at.iter_mut().zip(&draft.rows).for_each(|(at, row)| at.end = at.start + row.tokens.len().max(1));
    }
    let scores = joint.eval(TARGET, &at)?;
    let spots = spots(&scores, &draft.starts);
    let prepared = sampler.prepare(&spots, scores.width())?;
    let asked = Asked {
        rows: drawn_from(&spots, prepared.as_ref()),
        spots,
        prepared: prepared.is_some(),
        width: scores.width(),
        of_row: ranges(&at),
    };
    match acceptance {
        Acceptance::Agreement => by_agreement(joint, sampler, draft, &asked),
        Acceptance::Rejection => by_rejection(joint, sampler, draft, &asked),
    }
}

/// What the target says of the positions of a draft.
struct Asked<'a, B: Backend> {
    spots: Vec<Spot<'a, B>>,
    /// What tokens are drawn from, for each spot.
    rows: Vec<Row<'a, B>>,
    prepared: bool,
    width: usize,
    /// For each row of the batch, its spots.
    of_row: Vec<Range<usize>>,
}

/// Where each row's entries lie among those of all rows.
fn ranges(at: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut next = 0;
    at.iter()
        .map(|at| {
            next += at.len();
            next - at.len()..next
        })
        .collect()
}

/// The tokens of each row that stand, with the places they were chosen for.
struct Standing<'a, B: Backend> {
    rows: Vec<Vec<(Spot<'a, B>, Pick)>>,
    judged: usize,
    accepted: usize,
}

impl<'a, B: Backend> Standing<'a, B> {
    fn new(rows: usize) -> Self {
        Self { rows: vec![Vec::new(); rows], judged: 0, accepted: 0 }
    }

    fn count(&mut self, accepted: usize, drafted: usize) {
        self.accepted += accepted;
        self.judged += drafted.min(accepted + 1);
    }

    fn tell(self, sampler: &Sampler<B>, asked: &Asked<'_, B>) -> Result<Verdict> {
        let lengths: Vec<_> = self.rows.iter().map(Vec::len).collect();
        let (spots, picks): (Vec<_>, Vec<_>) = self.rows.into_iter().flatten().unzip();
        let mut told = sampler.tell(&spots, &picks, asked.prepared, asked.width)?.into_iter();
        let tokens = lengths.into_iter().map(|length| told.by_ref().take(length).collect()).collect();
        Ok(Verdict { tokens, judged: self.judged, accepted: self.accepted })
    }
}

/// The target picks for itself, and goes on as long as the draft has picked the same.
fn by_agreement<B: Backend>(
    joint: &mut Joint<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    asked: &Asked<'_, B>,
) -> Result<Verdict> {
    let picks = sampler.pick(&asked.rows, &asked.spots, Purpose::Draw, asked.width)?;
    let behind;
    let mut standing = Standing::new(draft.rows.len());
    let mut whole = Vec::new();
    for (row, (drafted, range)) in draft.rows.iter().zip(&asked.of_row).enumerate() {
        let picks = &picks[range.clone()];
        let agrees = |(pick, token): &(&Pick, &TokenId)| pick.token == **token && !pick.log_prob.is_nan();
        let accepted = picks.iter().zip(&drafted.tokens).take_while(agrees).count();
        standing.count(accepted, drafted.tokens.len());
        let spots = asked.spots[range.clone()].iter().copied();
        standing.rows[row].extend(spots.zip(picks.iter().copied()).take(accepted + 1));
        if accepted == picks.len() && !drafted.ends {
            whole.push(row);
        }
    }
    if !whole.is_empty() {
        behind = joint.eval(TARGET, &draft.ends_of(&whole))?;
        let spots = ends(&behind, draft);
        let prepared = sampler.prepare(&spots, asked.width)?;
        let rows = drawn_from(&spots, prepared.as_ref());
        let picks = sampler.pick(&rows, &spots, Purpose::Draw, asked.width)?;
        spots.iter().zip(picks).for_each(|(spot, pick)| standing.rows[spot.row].push((*spot, pick)));
    }
    standing.tell(sampler, asked)
}

/// A drafted token stands with probability `min(1, p / q)`, where it was drawn from `q` and the target would draw it
/// from `p`. The first that does not is replaced by one from what `p` has more than `q`.
fn by_rejection<B: Backend>(
    joint: &mut Joint<B>,
    sampler: &Sampler<B>,
    draft: &Draft<B>,
    asked: &Asked<'_, B>,
) -> Result<Verdict> {
    let (backend, width) = (joint.backend().clone(), asked.width);
    let of_target = target_log_probs(&backend, draft, asked)?;
    let behind;
    let mut standing = Standing::new(draft.rows.len());
    // What is drawn from, and with which number, for the token that each row gets of the target itself.
    let (mut rejected, mut own, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (drafted, range)) in draft.rows.iter().zip(&asked.of_row).enumerate() {
        let (spots, count) = (&asked.spots[range.clone()], drafted.tokens.len());
        let mut accepted = 0;
        while accepted < count {
            let (p, q) = (of_target[row][accepted], drafted.log_probs[accepted]);
            let uniform = sampler.uniform(row, spots[accepted].position, Purpose::Accept);
            // An unsound row stands, to be refused for what it is.
            if uniform >= f64::from(p - q).exp() {
                rejected.push((row, accepted));
                break;
            }
            let pick = Pick { token: drafted.tokens[accepted], log_prob: p };
            standing.rows[row].push((spots[accepted], pick));
            accepted += 1;
        }
        standing.count(accepted, count);
        match accepted == count && !drafted.ends {
            true if range.len() > count => own.push(range.start + count),
            true => whole.push(row),
            false => {}
        }
    }

    let replaced: Vec<_> = rejected.iter().map(|(row, index)| asked.of_row[*row].start + index).collect();
    let residual = match replaced.is_empty() {
        true => None,
        false => {
            let target: Vec<_> = replaced.iter().map(|i| asked.rows[*i]).collect();
            let drafts: Vec<_> = rejected.iter().filter_map(|(row, i)| draft.drawn_from(*row, *i)).collect();
            Some(backend.residual(&target, &drafts, width)?)
        }
    };
    behind = match whole.is_empty() {
        true => Scores::none(draft.rows.len(), width, crate::Form::UpToConstant),
        false => joint.eval(TARGET, &draft.ends_of(&whole))?,
    };
    let spots_behind = ends(&behind, draft);
    let prepared_behind = match whole.is_empty() {
        true => None,
        false => sampler.prepare(&spots_behind, width)?,
    };

    let mut rows = residual.as_ref().map_or(Vec::new(), |t| rows_of(t, replaced.len()));
    rows.extend(own.iter().map(|i| asked.rows[*i]));
    rows.extend(drawn_from(&spots_behind, prepared_behind.as_ref()));
    if rows.is_empty() {
        return standing.tell(sampler, asked);
    }
    let spots: Vec<_> =
        replaced.iter().chain(&own).map(|i| asked.spots[*i]).chain(spots_behind.iter().copied()).collect();
    let purpose = |index| if index < replaced.len() { Purpose::Residual } else { Purpose::Draw };
    let uniforms = spots.iter().enumerate().map(|(i, s)| sampler.uniform(s.row, s.position, purpose(i)));
    let mut picks = backend.draw(&rows, &uniforms.collect::<Vec<_>>(), width)?;
    if !replaced.is_empty() {
        // What is told of a token is its probability under the target, not in what was left of it.
        let target: Vec<_> = replaced.iter().map(|i| asked.rows[*i]).collect();
        let tokens: Vec<_> =
            picks.iter().take(replaced.len()).map(|p| vec![p.token.min(width as TokenId - 1)]).collect();
        let log_probs = backend.log_probs(&target, &tokens, width)?;
        for (pick, log_prob) in picks.iter_mut().zip(log_probs.into_iter().flatten()) {
            if !pick.log_prob.is_nan() {
                pick.log_prob = log_prob;
            }
        }
    }
    spots.into_iter().zip(picks).for_each(|(spot, pick)| standing.rows[spot.row].push((spot, pick)));
    standing.tell(sampler, asked)
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
    let mut log_probs = match rows.is_empty() {
        true => Vec::new(),
        false => backend.log_probs(&rows, &tokens, asked.width)?,
    }
    .into_iter()
    .flatten();
    Ok(draft.rows.iter().map(|row| log_probs.by_ref().take(row.tokens.len()).collect()).collect())
}

/// The places behind whole drafts.
fn ends<'a, B: Backend>(behind: &'a Scores<B>, draft: &Draft<B>) -> Vec<Spot<'a, B>> {
    let ends: Vec<_> = (0..draft.rows.len()).map(|row| draft.end(row)).collect();
    spots(behind, &ends)
}
