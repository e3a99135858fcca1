//! Weak-to-strong search: a large model writes, and a small tuned one says which of its texts are worth going on with.
//!
//! Chunk beam search keeps `width` texts, extends each in `successors` ways by a chunk of tokens, and keeps the best of
//! them by a [`Guide`]'s score. The large model needs no logits in common with the small ones, nor even a vocabulary:
//! a [`BlackBox`] that only samples text will do. Zhou et al. 2024, arXiv 2405.19262.
//!
//! ```
//! use eft_core::search::{ChunkBeamSearch, ImplicitReward};
//! use eft_core::{from_fn, Host, Vocab};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
//! let model = |name: &str, logits: [f32; 3]| {
//!     from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.to_vec()))
//! };
//! let large = model("large", [1.0, 0.0, 0.5]);
//! let (tuned, untuned) = (model("tuned", [0.0, 1.0, 0.0]), model("untuned", [0.0, 0.0, 0.0]));
//!
//! let search = || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).max_tokens(6);
//! let sample = search().best_of(1).run([0])?;
//! let found = search().width(4).successors(4).chunk(2).run([0])?;
//! assert!(found.best().score > sample.best().score); // more of the `b` that the tuned model has a taste for
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! With one slot and chunks without end it is best-of-n, with one successor besides it is plain sampling. The prompt
//! is read once and forked, and every token is scored once; texts that have ended leave the models and keep their
//! slot, and none of them is lost: those that better ones push out are candidates at the end.
mod beam;
mod black_box;
mod continuation;
mod guide;
mod proposer;
mod reward;

pub use beam::Progress;
pub use black_box::{BlackBox, Written};
pub use continuation::{Candidate, Continuation, Found, Piece};
pub use guide::{Guide, Judge};
pub use proposer::{Proposals, Proposer};
pub use reward::ImplicitReward;

use std::ops::ControlFlow;

use crate::decode::Decoding;
use crate::{Error, Prompt, Result};
use beam::Beam;

/// A search that is set up: see the [module](self).
///
/// By default four slots, four successors and chunks of five tokens, up to 50 tokens sampled at temperature 0.7: what
/// the paper steers sentiment with. For following instructions it takes two, two and thirty.
pub struct ChunkBeamSearch<'a> {
    base: &'a dyn Proposer,
    guide: Box<dyn Guide + 'a>,
    settings: Settings,
}

/// Numbers of a search.
#[derive(Debug, Clone)]
struct Settings {
    width: usize,
    successors: usize,
    chunk: usize,
    budget: Option<usize>,
    decoding: Decoding,
}

impl Settings {
    /// Rows that are written at once, at most.
    fn rows(&self) -> usize {
        self.width.saturating_mul(self.successors)
    }

    fn validate(&self) -> Result<()> {
        let numbers = [("width", self.width), ("successors", self.successors), ("chunk", self.chunk)];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, number)) => Err(Error::parameter(name, number, "at least 1")),
            None => Ok(()),
        }
    }
}

impl<'a> ChunkBeamSearch<'a> {
    /// A search of what `base` writes, by what `guide` makes of it: an [`ImplicitReward`], a function of prompt and
    /// [`Continuation`], or a [`Guide`] of one's own.
    pub fn new(base: &'a dyn Proposer, guide: impl Guide + 'a) -> Self {
        let sampling = crate::Sampling::default().temperature(0.7);
        let decoding = Decoding::from(sampling).max_tokens(50);
        let settings = Settings { width: 4, successors: 4, chunk: 5, budget: None, decoding };
        Self { base, guide: Box::new(guide), settings }
    }

    /// How many texts are kept after each chunk: W.
    pub fn width(mut self, texts: usize) -> Self {
        self.settings.width = texts;
        self
    }

    /// In how many ways each text is extended: K.
    pub fn successors(mut self, ways: usize) -> Self {
        self.settings.successors = ways;
        self
    }

    /// How many tokens are written before texts are compared: C.
    pub fn chunk(mut self, tokens: usize) -> Self {
        self.settings.chunk = tokens;
        self
    }

    /// The best of `texts` whole texts: one slot, and a chunk without end.
    pub fn best_of(self, texts: usize) -> Self {
        self.width(1).successors(texts).chunk(usize::MAX)
    }

    /// Ends every text after so many tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.settings.decoding.max_tokens = Some(tokens);
        self
    }

    /// Draws no more than so many tokens of the base, over all rows. Texts that go on then are candidates as they
    /// are.
    pub fn budget(mut self, tokens: usize) -> Self {
        self.settings.budget = Some(tokens);
        self
    }

    /// How the base samples, and what ends its texts: a [`Sampling`](crate::Sampling) or a [`Decoding`], whose limit
    /// of tokens holds, too.
    pub fn decoding(mut self, decoding: impl Into<Decoding>) -> Self {
        self.settings.decoding = decoding.into();
        self
    }

    /// Searches.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings outside their range and a score that is no number; those of the base
    /// and of the guide.
    pub fn run(&self, prompt: impl Into<Prompt>) -> Result<Found> {
        self.run_watched(prompt, |_| ControlFlow::Continue(()))
    }

    /// As [`run`](Self::run). `watch` is called after each chunk, and ends the search by breaking.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_watched(
        &self,
        prompt: impl Into<Prompt>,
        mut watch: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Found> {
        self.settings.validate()?;
        let prompt = prompt.into();
        let beam = Beam {
            settings: &self.settings,
            vocab: self.base.vocab().map(AsRef::as_ref),
            proposals: self.base.open(&prompt, &self.settings.decoding)?,
            judge: self.guide.open(&prompt, self.base.vocab())?,
            drawn: 0,
            rounds: 0,
        };
        beam.run(&mut watch)
    }
}

impl std::fmt::Debug for ChunkBeamSearch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkBeamSearch").field("settings", &self.settings).finish_non_exhaustive()
    }
}
