//! Types shared by the rules of acceptance: the target's score rows, and the accepted tokens.
use std::ops::Range;

use crate::backend::{Backend, Pick, ScoreRow};
use crate::sample::scored_position::ScoredPosition;

/// When a drafted token is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// If the target picks the same token, greedily or with the same random number. Greedy rows always accept so.
    Agreement,
    /// With probability `min(1, p / q)`, where the target gives the token the probability `p` and the draft gave it
    /// `q`.
    Rejection,
}

/// The target's scores at the positions of a draft.
pub(super) struct TargetRows<'a, B: Backend> {
    pub(super) positions: Vec<ScoredPosition<'a, B>>,
    /// The score rows that tokens are drawn from, one for each position: after processors, temperature and filters.
    pub(super) rows: Vec<ScoreRow<'a, B>>,
    pub(super) width: usize,
    /// For each row of the batch, which of the positions are its own.
    pub(super) of_row: Vec<Range<usize>>,
}

/// The tokens of each row accepted so far, with the positions that they were chosen for.
pub(super) struct Accepted<'a, B: Backend> {
    pub(super) rows: Vec<Vec<(ScoredPosition<'a, B>, Pick)>>,
    /// The rows whose whole draft is accepted, but which still lack the target's own token after it, since the target
    /// was not scored there. Only [`verify`](super::verify::verify) with `alone` leaves that position out.
    pub(super) whole: Vec<usize>,
    /// How each row's draft was judged.
    pub(super) verdicts: Vec<Verdict>,
}

/// How the draft of a row was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many drafted tokens were accepted.
    pub(super) accepted: usize,
    /// How many were judged: the accepted ones and the first rejected one.
    pub(super) judged: usize,
}

impl<'a, B: Backend> Accepted<'a, B> {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows: vec![Vec::new(); rows], whole: Vec::new(), verdicts: vec![Verdict::default(); rows] }
    }

    pub(super) fn push(&mut self, position: ScoredPosition<'a, B>, pick: Pick) {
        self.rows[position.row].push((position, pick));
    }

    /// Records the verdict on a row's draft of `drafted` tokens.
    pub(super) fn judge(&mut self, row: usize, accepted: usize, drafted: usize) {
        self.verdicts[row] = Verdict { accepted, judged: drafted.min(accepted + 1) };
    }
}
