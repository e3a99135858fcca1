//! How many tokens to draft before the target verifies them.
//!
//! The scheduler maximises tokens per second under the acceptance rates and the costs measured so far, in this text and
//! in those before it. With acceptance rate `α`, a block of `γ` drafted tokens yields `(1 − α^(γ+1)) / (1 − α)` tokens
//! on average (Leviathan et al. 2023, arXiv 2211.17192, equation 1). Its cost is that of `γ` drafted tokens, which is
//! nothing for a lookup, and that of verifying them, which is affine in `γ`. `docs/notes/performance.md` derives from
//! this which speed-up is attainable.
//!
//! A model says how sure it was of each token that it drafted, and tokens of which it was sure are accepted far more often. So `γ` is not
//! the same for all blocks: after each token, another one is drafted if the chance that all so far are accepted makes it worth its
//! time. The rates for tokens that are more or less sure are measured like the others.
//!
//! Drafts by a model and lookups have estimates of their own. What a lookup found is compared with the text that was then
//! written, also where it was not used; so its acceptance rate is known without a try. Where both could draft, the one
//! that promises more tokens per second does.
mod adaptive;
mod confidence;
mod cost_model;
mod estimates;
mod kinds;
mod memory;
mod rate;
mod reached;
mod recent;

pub(super) use adaptive::{DraftTime, Measured};
pub(super) use confidence::{DraftEnd, Judged};
use estimates::Estimates;
pub(super) use estimates::Step;
pub(super) use kinds::{Lengths, Match, Tally};
pub(super) use memory::Memory;

/// Decides on the draft lengths of the next block.
#[derive(Debug, Clone)]
pub(super) enum DraftScheduler {
    /// Always the same length.
    Fixed(usize),
    /// The lengths that give the most tokens per second.
    Adaptive(Box<Estimates>, Memory),
}

impl DraftScheduler {
    /// Always drafts this many tokens.
    pub(super) fn fixed(tokens: usize) -> Self {
        Self::Fixed(tokens)
    }

    /// Drafts up to `longest` tokens. It begins with the measurements in `memory`, and adds its own to them.
    pub(super) fn adaptive(longest: usize, memory: &Memory) -> Self {
        Self::Adaptive(Box::new(memory.begin(longest)), memory.clone())
    }

    /// Returns how many tokens to draft next; none for a plain step. `found` has what was found for each row, and `model`
    /// says whether there is a model that drafts.
    pub(super) fn next(&self, found: &[Option<Match>], model: bool) -> Lengths {
        match self {
            Self::Fixed(tokens) => {
                Lengths { by_model: *tokens, end: None, by_lookup: [*tokens; Match::KINDS] }
            }
            Self::Adaptive(estimates, _) => estimates.next(found, model),
        }
    }

    /// Learns how many tokens would have been accepted of what lookups have found, whether or not they were drafted.
    pub(super) fn judge(&mut self, found: &[Tally; Match::KINDS]) {
        if let Self::Adaptive(estimates, memory) = self {
            memory.judge(found);
            estimates.judge(found);
        }
    }

    /// Learns from a step.
    pub(super) fn learn(&mut self, step: &Step<'_>) {
        if let Self::Adaptive(estimates, memory) = self {
            memory.learn(step, estimates.unread());
            estimates.learn(step);
        }
    }

    /// Takes note of a step whose costs it is not to learn from: the draft has to catch up with its tokens.
    pub(super) fn pass_over(&mut self) {
        if let Self::Adaptive(estimates, _) = self {
            estimates.set_unread(estimates.unread() + 1);
        }
    }

    /// Returns the seconds that a plain step takes; `None` before one was measured.
    pub(super) fn plain(&self) -> Option<f64> {
        match self {
            Self::Fixed(_) => None,
            Self::Adaptive(estimates, _) => estimates.plain(),
        }
    }
}

// Compiled as a part of tests/all, which includes this module by its path.
#[cfg(test)]
mod confidence_tests;
#[cfg(test)]
mod tests;
