//! Speculative decoding of any combination: a cheap model writes a few tokens ahead, and the target says in one pass
//! of each of its models how many of them stand.
//!
//! The text is that of plain decoding: greedy, token for token; sampled, from the same distribution. The draft is
//! usually a term of its target, `tuned` of `large + (tuned − untuned)`, and then none of its rows is computed twice.
//! Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318; of emulated fine-tuning, arXiv
//! 2310.12962.
//!
//! ```
//! use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
//!
//! let vocab = Vocab::new("abcd", ["a", "b", "c", "d"])?;
//! // After each letter the next one, which the models are more or less sure of.
//! let model = |name: &str, sure: f32| {
//!     from_fn(Host, vocab.clone().named(name), move |ids| {
//!         let next = (ids[ids.len() - 1] + 1) % 4;
//!         Ok((0..4).map(|id| if id == next { sure } else { 0.0 }).collect())
//!     })
//! };
//! let (large, tuned, untuned) = (model("large", 2.0), model("tuned", 1.5), model("untuned", 1.0));
//! let upscaled = &large + (&tuned - &untuned);
//!
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(12);
//! let plain: Vec<_> = upscaled.generate([0], &decoding)?.collect::<eft_core::Result<_>>()?;
//! let mut fast = upscaled.speculate().draft(&tuned).block(3).generate([0], &decoding)?;
//! let drafted: Vec<_> = fast.by_ref().collect::<eft_core::Result<_>>()?;
//! assert_eq!(plain, drafted);
//! let report = fast.report().unwrap();
//! assert_eq!((report.acceptance(), report.tokens_per_pass()), (Some(1.0), Some(4.0)));
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! How far ahead the draft writes follows what it costs and how often it is right, down to not at all; it is tried
//! again now and then. Sampling in this mode draws other numbers than plain sampling does, and block lengths follow
//! measured times, so one seed gives a text of the right distribution, but not always the same one;
//! [`Speculative::same_text`] gives the very text of plain sampling.
mod agreement;
mod block;
mod draft;
mod pace;
mod rejection;
mod report;
mod term;
mod verify;

pub(crate) use block::{Bounds, Speculation};
pub use report::Report;

use crate::backend::Backend;
use crate::decode::{Batch, Decoding, Generation};
use crate::evaluator::{Evaluator, OpenOptions};
use crate::vocab::Common;
use crate::{Error, Prompt, Result, Source};
use block::Acceptance;
use pace::{Memory, Pace};

/// Most tokens that are drafted at once unless said otherwise.
const LONGEST: usize = 16;

/// A source that is decoded speculatively: see the [module](self). It remembers what its texts taught of acceptance and
/// costs, and so do its clones: generate from one again rather than from a new one.
#[derive(Debug, Clone)]
pub struct Speculative<B: Backend> {
    target: Source<B>,
    draft: Option<Source<B>>,
    longest: usize,
    fixed: Option<usize>,
    same_text: bool,
    memory: Memory,
}

impl<B: Backend> Source<B> {
    /// The same source, decoded speculatively.
    pub fn speculate(&self) -> Speculative<B> {
        let (target, memory) = (self.clone(), Memory::default());
        Speculative { target, draft: None, longest: LONGEST, fixed: None, same_text: false, memory }
    }
}

impl<B: Backend> Speculative<B> {
    /// Drafts with this source, a term of the target or any other over the same tokens. By default it is the
    /// positive term whose passes read the fewest bytes; of several, or where that is not known, the last one
    /// written.
    pub fn draft(mut self, draft: &Source<B>) -> Self {
        self.draft = Some(draft.clone());
        self.memory = Memory::default();
        self
    }

    /// Drafts so many tokens at most; 16 unless said otherwise.
    pub fn longest(mut self, tokens: usize) -> Self {
        self.longest = tokens;
        self
    }

    /// Always drafts so many tokens, whatever they cost and however few are accepted: for experiments, and for texts
    /// that must not depend on measured times.
    pub fn block(mut self, tokens: usize) -> Self {
        self.fixed = Some(tokens);
        self
    }

    /// Samples the very text that plain sampling gives: draft and target draw with the same uniform, and a token
    /// stands where they agree. That is less often than the distributions would allow.
    pub fn same_text(mut self) -> Self {
        self.same_text = true;
        self.memory = Memory::default();
        self
    }

    /// Generates one text: as [`Source::generate`], with a [report](Generation::report).
    ///
    /// # Errors
    /// As [`Source::generate`] and [`over`](Self::over).
    pub fn generate(
        &self,
        prompt: impl Into<Prompt>,
        decoding: impl Into<Decoding>,
    ) -> Result<Generation<B>> {
        Ok(Generation::new(self.generate_batch([prompt.into()], decoding)?))
    }

    /// Generates a text for each prompt: as [`Source::generate_batch`]. Rows accept different lengths.
    ///
    /// # Errors
    /// As [`Source::generate_batch`] and [`over`](Self::over).
    pub fn generate_batch<P: Into<Prompt>>(
        &self,
        prompts: impl IntoIterator<Item = P>,
        decoding: impl Into<Decoding>,
    ) -> Result<Batch<B>> {
        let decoding = decoding.into();
        decoding.validate()?;
        let prompts: Vec<_> = prompts.into_iter().map(Into::into).collect();
        let options = OpenOptions { parallel: decoding.parallel, every_term: decoding.rivals.is_some() };
        let draft = match &self.draft {
            Some(draft) => draft.clone(),
            None => term::cheapest(&self.target)?,
        };
        self.over(Evaluator::open_with(&[&self.target, &draft], &prompts, options)?, decoding)
    }

    /// Generates from an evaluator whose first root is the target and whose second is the draft, behind the tokens that
    /// were pushed to it: as [`Batch::over`].
    ///
    /// # Errors
    /// As [`Batch::over`]; [`Error::VocabMismatch`] for a draft over other tokens, [`Error::Unsupported`] for one
    /// that lacks some of the target's.
    pub fn over(&self, evaluator: Evaluator<B>, decoding: Decoding) -> Result<Batch<B>> {
        let (target, draft) = (evaluator.width(0)?, evaluator.width(1)?);
        Common::of(evaluator.vocabs(0)?.iter().chain(evaluator.vocabs(1)?))?;
        if draft < target {
            let what = format!("drafting for `{}`: it has {draft} of {target} tokens", evaluator.name(0)?);
            return Err(Error::Unsupported { who: evaluator.name(1)?.into(), what });
        }
        let acceptance = match decoding.sampling.is_greedy() || self.same_text {
            true => Acceptance::Agreement,
            false => Acceptance::Rejection,
        };
        let pace = match self.fixed {
            Some(tokens) => Pace::fixed(tokens),
            None => Pace::adaptive(self.longest, &self.memory),
        };
        let speculation = Speculation::new(&evaluator, acceptance, pace)?;
        Batch::with(evaluator, decoding, Some(speculation))
    }
}
