//! The kinds of drafts, and what is known about them.
use super::confidence::DraftEnd;

/// How good a lookup's match is. Longer matches are accepted far more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::speculate) enum Match {
    /// Fewer tokens than the longest n-gram that is looked up.
    Short,
    /// The longest n-gram, or more.
    Long,
}

impl Match {
    /// The number of kinds of matches.
    pub(in crate::speculate) const KINDS: usize = 2;

    pub(in crate::speculate) fn index(self) -> usize {
        self as usize
    }
}

/// Counts of judged tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::speculate) struct Tally {
    pub(in crate::speculate) accepted: usize,
    /// The accepted ones, and in each draft the first rejected one.
    pub(in crate::speculate) judged: usize,
}

impl Tally {
    pub(in crate::speculate) fn add(&mut self, accepted: usize, judged: usize) {
        self.accepted += accepted;
        self.judged += judged;
    }
}

/// How many tokens to draft for a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::speculate) struct Lengths {
    /// By a model, where nothing was found or what was found is not used. If `end` is given, this is the best length if all drafts had the
    /// same.
    pub(in crate::speculate) by_model: usize,
    /// Where a draft by a model of the target's tokens ends; `None` if it has the length above.
    pub(in crate::speculate) end: Option<DraftEnd>,
    /// By a lookup, for each kind of match; 0 if the model is to draft instead.
    pub(in crate::speculate) by_lookup: [usize; Match::KINDS],
}

impl Lengths {
    /// The most tokens that a model of the target's tokens drafts.
    pub(in crate::speculate) fn most_by_model(&self) -> usize {
        self.end.map_or(self.by_model, |end| end.longest())
    }

    /// Nothing, for a plain step.
    pub(super) const NONE: Self = Self { by_model: 0, end: None, by_lookup: [0; Match::KINDS] };
}
