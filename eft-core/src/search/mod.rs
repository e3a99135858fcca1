//! Weak-to-strong search: a large model generates texts, and a small tuned model decides which of them to extend.
//!
//! Chunk beam search keeps the `width` best texts (the beam). Each round extends every one of them by a chunk of tokens
//! in `successors` different ways, scores the results with a [`Guide`], and keeps the best. The guide's default,
//! [`ImplicitReward`], is `log π_tuned(y | x) − log π_untuned(y | x)` of a text `y` for a prompt `x`. The large model's
//! logits are not needed, and it may have another vocabulary than the small models: even a [`BlackBox`] that only
//! samples text can be used. Zhou et al. 2024, *Weak-to-Strong Search*, arXiv 2405.19262, algorithm 1.
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
//! let result = search().width(4).successors(4).chunk(2).run([0])?;
//! assert!(result.best().score > sample.best().score); // more of the `b` that the tuned model prefers
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! With a beam of one and a chunk without limit, the search is best-of-n; with one successor as well, it is plain
//! sampling.
//!
//! The prompt is read once, and every token is scored once. A text that has ended leaves the models but keeps its place
//! in the beam; if better texts push it out, it is still among the candidates at the end.
mod beam;
mod black_box;
mod continuation;
mod guide;
mod proposer;
mod reward;
mod settings;

pub use beam::Progress;
pub use black_box::{BlackBox, SampledText};
pub use continuation::{Candidate, Chunk, Continuation, SearchResult};
pub use guide::{Guide, GuideSession};
pub use proposer::{Proposer, ProposerSession};
pub use reward::ImplicitReward;

use std::ops::ControlFlow;

use crate::decode::Decoding;
#[cfg(doc)]
use crate::{Error, Source};
use crate::{Prompt, Result};
use beam::Beam;
use settings::Settings;

/// A chunk beam search: see the [module](self).
///
/// The defaults are those of the paper for steering sentiment: a beam of 4 texts, 4 successors, chunks of 5 tokens, and
/// up to 50 tokens sampled at temperature 0.7. For following instructions, the paper uses 2, 2 and 30.
#[must_use]
pub struct ChunkBeamSearch<'a> {
    base: &'a dyn Proposer,
    guide: Box<dyn Guide + 'a>,
    settings: Settings,
}

impl<'a> ChunkBeamSearch<'a> {
    /// Creates a search over the texts that `base` generates, guided by the scores of `guide`: an [`ImplicitReward`], a
    /// function of the prompt and the [`Continuation`], or your own [`Guide`].
    pub fn new(base: &'a dyn Proposer, guide: impl Guide + 'a) -> Self {
        let sampling = crate::Sampling::default().temperature(0.7);
        let decoding = Decoding::from(sampling).max_tokens(50);
        let settings = Settings { width: 4, successors: 4, chunk: 5, budget: None, decoding };
        Self { base, guide: Box::new(guide), settings }
    }

    /// Sets how many texts are kept after each round (the paper's W).
    pub fn width(mut self, texts: usize) -> Self {
        self.settings.width = texts;
        self
    }

    /// Sets in how many ways each text is extended (the paper's K).
    pub fn successors(mut self, ways: usize) -> Self {
        self.settings.successors = ways;
        self
    }

    /// Sets how many tokens a text is extended by in each round.
    pub fn chunk(mut self, tokens: usize) -> Self {
        self.settings.chunk = tokens;
        self
    }

    /// Makes the search best-of-n: `texts` complete texts are sampled and scored, in one round.
    pub fn best_of(self, texts: usize) -> Self {
        self.width(1).successors(texts).chunk(usize::MAX)
    }

    /// Ends every text after this many tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.settings.decoding.max_tokens = Some(tokens);
        self
    }

    /// Limits how many tokens are sampled from the base, over all rows. Texts that have not ended by then become
    /// candidates unfinished.
    pub fn budget(mut self, tokens: usize) -> Self {
        self.settings.budget = Some(tokens);
        self
    }

    /// Sets how the base samples and when its texts end: a [`Sampling`](crate::Sampling) or a [`Decoding`]. The maximum
    /// number of tokens is that of the [`Decoding`], too.
    pub fn decoding(mut self, decoding: impl Into<Decoding>) -> Self {
        self.settings.decoding = decoding.into();
        self
    }

    /// Runs the search.
    ///
    /// A text that outgrows the guide's context ends where it was last scored, with
    /// [`FinishReason::ContextFull`](crate::decode::FinishReason::ContextFull).
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`] if a setting is outside its range, or if the guide returns NaN.
    /// * [`Error::Unsupported`] if the guide cannot score texts of this base, or if `decoding` requests alternatives or
    ///   attributions.
    /// * The errors of [`Source::generate`], and any error of the base or the guide.
    pub fn run(&self, prompt: impl Into<Prompt>) -> Result<SearchResult> {
        self.run_watched(prompt, |_| ControlFlow::Continue(()))
    }

    /// Runs the search and calls `watch` after each round. The search ends early if `watch` breaks.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use eft_core::search::{ChunkBeamSearch, Continuation};
    /// use eft_core::{from_fn, Host, Prompt, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 0.0]));
    /// let count_b = |_: &Prompt, text: &Continuation| Ok(text.text.iter().filter(|c| **c == b'b').count() as f64);
    /// let search = ChunkBeamSearch::new(&model, count_b).chunk(1);
    /// let result = search.run_watched([0], |progress| match progress.beam[0].score >= 3.0 {
    ///     true => ControlFlow::Break(()),
    ///     false => ControlFlow::Continue(()),
    /// })?;
    /// assert_eq!(result.best().continuation.to_text(), "bbb");
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The same errors as [`run`](Self::run): an invalid setting, a guide that cannot score texts of this base, or a
    /// failure of the base or the guide.
    pub fn run_watched(
        &self,
        prompt: impl Into<Prompt>,
        mut watch: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<SearchResult> {
        self.settings.validate()?;
        let prompt = prompt.into();
        let beam = Beam {
            settings: &self.settings,
            vocab: self.base.vocab().map(AsRef::as_ref),
            base: self.base.open(&prompt, &self.settings.decoding)?,
            guide: self.guide.open(&prompt, self.base.vocab())?,
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
