//! How many tokens to draft before the target verifies them.
//!
//! The scheduler maximises tokens per second under the acceptance rate and the costs measured so far, in this text and
//! in those before it. With acceptance rate `α`, a block of `γ` drafted tokens yields `(1 − α^(γ+1)) / (1 − α)` tokens
//! on average (Leviathan et al. 2023, arXiv 2211.17192, equation 1).
mod adaptive;
mod cost_model;
mod ema;
mod memory;

use adaptive::Adaptive;
pub(super) use adaptive::Measured;
pub(super) use memory::Memory;

/// Decides on the draft length of the next block.
#[derive(Debug, Clone)]
pub(super) enum DraftScheduler {
    /// Always the same length.
    Fixed(usize),
    /// The length that gives the most tokens per second.
    Adaptive(Box<Adaptive>, Memory),
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

    /// Returns how many tokens to draft next; 0 for a plain step.
    pub(super) fn next(&self) -> usize {
        match self {
            Self::Fixed(tokens) => *tokens,
            Self::Adaptive(adaptive, _) => adaptive.next(),
        }
    }

    /// Learns from a block.
    pub(super) fn learn(&mut self, block: &Measured) {
        if let Self::Adaptive(adaptive, memory) = self {
            memory.learn(block, adaptive.unread());
            adaptive.learn(block);
        }
    }

    /// Takes note of a step whose costs it is not to learn from: the draft has to catch up with its tokens.
    pub(super) fn pass_over(&mut self) {
        if let Self::Adaptive(adaptive, _) = self {
            adaptive.set_unread(adaptive.unread() + 1);
        }
    }

    /// Returns the seconds that a plain step takes; `None` before one was measured.
    pub(super) fn plain(&self) -> Option<f64> {
        match self {
            Self::Fixed(_) => None,
            Self::Adaptive(adaptive, _) => adaptive.plain(),
        }
    }
}

// Compiled as a part of tests/all, which includes this module by its path.
#[cfg(test)]
mod tests;
