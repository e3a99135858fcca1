use super::adaptive::{Adaptive, Measured};
use super::confidence::Judged;
use super::kinds::{Lengths, Match, Tally};

/// What a step has shown.
#[derive(Debug, Clone, Copy)]
pub(in crate::speculate) struct Step<'a> {
    /// Its costs, and how the drafts by a model were judged, or, if no model has drafted, those by lookup.
    pub(in crate::speculate) block: Measured,
    /// The judged tokens that a model has drawn.
    pub(in crate::speculate) drawn: &'a [Judged],
    /// Whether the drafts were found by lookup, in all rows that had any.
    pub(in crate::speculate) looked_up: bool,
    /// Whether something was found in any row.
    pub(in crate::speculate) found: bool,
    /// The most tokens that a row has got.
    pub(in crate::speculate) tokens: usize,
}

/// What is known about drafts by a model and about lookups, each with costs and acceptance rates of its own.
#[derive(Debug, Clone)]
pub(in crate::speculate) struct Estimates {
    model: Adaptive,
    lookup: Adaptive,
}

impl Estimates {
    pub(super) fn new(longest: usize) -> Self {
        Self { model: Adaptive::new(longest), lookup: Adaptive::new(longest) }
    }

    /// Begins another text.
    pub(super) fn resumed(self, longest: usize) -> Self {
        Self { model: self.model.resumed(longest), lookup: self.lookup.resumed(longest) }
    }

    /// The number of tokens that the draft model has to catch up with.
    pub(super) fn unread(&self) -> usize {
        self.model.unread()
    }

    pub(super) fn set_unread(&mut self, tokens: usize) {
        self.model.set_unread(tokens);
    }

    /// Seconds of a plain step.
    pub(super) fn plain(&self) -> Option<f64> {
        self.model.plain().or(self.lookup.plain())
    }

    /// Chooses how many tokens to draft for each row. `found` has what was found for each row, and `model` says whether there
    /// is a model that drafts. Where both can draft, the one that promises more tokens per second does.
    pub(super) fn next(&self, found: &[Option<Match>], model: bool) -> Lengths {
        let any = found.iter().any(Option::is_some);
        if model && self.model.is_plain_due() || any && self.lookup.is_plain_due() {
            return Lengths::NONE;
        }
        let by_model = if model { self.model.next(0, 1.0) } else { 0 };
        let share = found.iter().flatten().count() as f64 / found.len().max(1) as f64;
        let by_lookup = [Match::Short, Match::Long].map(|kind| {
            let length = if found.contains(&Some(kind)) { self.lookup.next(kind.index(), share) } else { 0 };
            let lookup = self.lookup.speed(kind.index(), length);
            // The model's drafts end where it is unsure, so that the best length for all drafts says too little of them. A model that
            // has never drafted is tried first.
            let of_model = self.model.speed(0, by_model).map(|speed| self.model.reached().unwrap_or(speed));
            let model = of_model.or((by_model > 0).then_some(f64::INFINITY));
            if matches!((lookup, model), (Some(lookup), Some(model)) if model > lookup) { 0 } else { length }
        });
        let end = if by_model > 0 { self.model.end() } else { None };
        Lengths { by_model, end, by_lookup }
    }

    /// Learns how many tokens would have been accepted of what was found.
    pub(super) fn judge(&mut self, found: &[Tally; Match::KINDS]) {
        found.iter().enumerate().for_each(|(kind, t)| self.lookup.judge(kind, t.accepted, t.judged));
    }

    /// Learns from a step.
    pub(super) fn learn(&mut self, step: &Step<'_>) {
        let plain = step.block.drafted == 0;
        if plain || !step.looked_up {
            self.model.learn_judged(&step.block, step.drawn);
        } else {
            self.model.set_unread(self.model.unread() + step.tokens);
        }
        if plain || step.looked_up {
            self.lookup.learn(&step.block, step.found);
        } else if step.found {
            self.lookup.pass_over();
        }
    }
}
