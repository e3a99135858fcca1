//! Speculative decoding of any combination: a cheap model drafts a few tokens, and the target verifies them in one pass
//! of each of its models.
//!
//! Greedy decoding gives the same tokens as without a draft. Sampling draws its tokens from the same distribution, but
//! gives another text; with [`Speculative::same_text`] it gives the same one. In sampling, a token `x` that the draft
//! drew from its distribution `q` is accepted with probability `min(1, p(x) / q(x))`, where `p` is the target's
//! distribution; the first rejected token is replaced by one drawn from `max(p − q, 0)`, normalised. Leviathan et al.
//! 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318.
//!
//! The draft is usually a term of its target: `tuned` of `large + (tuned − untuned)`, as in Mitchell et al. 2023, arXiv
//! 2310.12962. None of its score rows is then computed twice.
//!
//! ```
//! use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
//!
//! let vocab = Vocab::new("abcd", ["a", "b", "c", "d"])?;
//! // Each letter is followed by the next one, of which the models are more or less sure.
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
//! A draft with another tokenizer writes text greedily, byte by byte (see [`bytes`](crate::bytes)), and the target's tokenizer
//! makes tokens of it. In greedy decoding nothing else changes. In sampling, a drafted token then has the probability
//! `q(x) = 1`: it is accepted with probability `p(x)`, and replaced by a token drawn from `p` without `x`. The texts have the
//! target's distribution all the same. Where the two vocabularies have most tokens in common,
//! [`over_vocab`](crate::Source::over_vocab) makes a draft of the target's tokens, which is cheaper.
//!
//! All of this holds up to rounding: a model may round differently in a pass over several positions than over one. In f32 that
//! hardly ever changes a text. Where quantised weights are multiplied with activations of 8 bits, log-probs differ more, and
//! greedy texts have parted where two tokens differed by 0.02 nats.
//!
//! [`Speculative::lookup`] adds drafts without a model: where the last tokens occurred earlier, in the prompt or in the text,
//! what followed them there is the draft. That helps with texts that repeat much of their prompt or of themselves, such as an
//! edited program, a summary with quotes, or a table. Elsewhere the model drafts, or, with
//! [`without_model`](Speculative::without_model) or for a target that has no term to draft with, nothing does. Also here a
//! drafted token has the probability `q(x) = 1`, and all that is said above holds.
//!
//! ```
//! use eft_core::speculate::Lookup;
//! use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
//!
//! let vocab = Vocab::new("abcd", ["a", "b", "c", "d"])?;
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
//! let speculative = upscaled.speculate().lookup(Lookup::default()).block(3);
//! let mut text = speculative.generate([0], &decoding)?;
//! text.by_ref().for_each(drop);
//! let report = text.report().unwrap();
//! // The tuned model drafts two blocks of three letters and one more. Then the last three have occurred earlier.
//! assert_eq!((report.draft_passes, report.looked_up), (6, 3));
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! The length of the drafts follows their measured cost and acceptance rate. A draft by a model of the target's tokens ends where the model
//! is unsure, since such tokens are accepted less often. A draft that does not pay is switched off
//! and tried again now and then. Since block lengths follow measured times, sampling twice with one seed may give two
//! texts, unless [`Speculative::block`] fixes the length or [`Speculative::same_text`] is used.
mod acceptance;
mod agreement;
mod block;
mod default_draft;
mod draft;
mod lookup;
mod rejection;
mod scheduler;
mod settings;
mod text_draft;
mod verify;

pub use crate::decode::Report;
pub use lookup::Lookup;

use crate::backend::Backend;
use crate::bytes::is_of_bytes;
use crate::decode::open::{Rows, open};
use crate::decode::{Batch, Decoding, Generation, Request};
use crate::evaluator::Evaluator;
use crate::vocab::Common;
use crate::{Error, Prompt, Result, Source};
use acceptance::Acceptance;
use block::{Drafter, SpeculativeStepper};
use default_draft::default_draft;
use draft::DRAFT;
use lookup::{LookupDraft, Lookups};
use scheduler::{DraftScheduler, Memory};
use text_draft::TextDraft;

/// The most tokens that are drafted at once by default.
const LONGEST: usize = 16;

/// A source that is decoded speculatively: see the [module](self).
///
/// It remembers the acceptance rate and the costs that it measured, for the texts that follow, and shares them with its
/// clones. So generate many texts from one `Speculative` rather than each from a new one.
///
/// ```
/// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = |name: &str| from_fn(Host, vocab.clone().named(name), |_| Ok(vec![0.0, 1.0]));
/// let (large, small) = (model("large"), model("small"));
/// let speculative = large.speculate().draft(&small).longest(8);
/// let decoding = Decoding::from(Sampling::greedy()).max_tokens(4);
/// for prompt in [[0], [1]] {
///     assert_eq!(speculative.generate(prompt, &decoding)?.count(), 4);
/// }
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Speculative<B: Backend> {
    target: Source<B>,
    draft: Option<Source<B>>,
    lookup: Option<Lookups>,
    /// Whether a model drafts.
    model: bool,
    longest: usize,
    fixed: Option<usize>,
    most_rows: usize,
    same_text: bool,
    memory: Memory,
}

impl<B: Backend> Source<B> {
    /// Returns the same source, to be decoded speculatively.
    pub fn speculate(&self) -> Speculative<B> {
        let (target, memory) = (self.clone(), Memory::default());
        Speculative {
            target,
            draft: None,
            lookup: None,
            model: true,
            longest: LONGEST,
            fixed: None,
            most_rows: usize::MAX,
            same_text: false,
            memory,
        }
    }
}

impl<B: Backend> Speculative<B> {
    /// Generates one text, as [`Source::generate`] does, with a [report](Generation::report).
    ///
    /// # Errors
    /// * [`Error::Unsupported`] if no draft is named, no term can draft, and there are no lookups.
    /// * [`Error::InvalidParameter`] if a setting of the lookup is out of its range.
    /// * Any error of [`Source::generate`] or [`over`](Self::over).
    pub fn generate(
        &self,
        prompt: impl Into<Prompt>,
        decoding: impl Into<Decoding>,
    ) -> Result<Generation<B>> {
        Ok(Generation::new(self.generate_batch([prompt.into()], decoding)?))
    }

    /// Generates a text for each request, as [`Source::generate_batch`] does. In each block, rows may accept drafts of
    /// different lengths.
    ///
    /// # Errors
    /// * [`Error::Unsupported`] if no draft is named, no term can draft, and there are no lookups.
    /// * [`Error::InvalidParameter`] if a setting of the lookup is out of its range.
    /// * Any error of [`Source::generate_batch`] or [`over`](Self::over).
    pub fn generate_batch<R: Into<Request>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        decoding: impl Into<Decoding>,
    ) -> Result<Batch<B>> {
        let decoding = decoding.into();
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let Some(draft) = self.model()? else {
            let (evaluator, rows) = open(&[&self.target], &requests, &decoding)?;
            return self.start(evaluator, decoding, rows, Drafter::None);
        };
        let (target, of_draft) = (self.target.vocab(), draft.vocab());
        let draft = match is_of_bytes(target) && !is_of_bytes(of_draft) {
            true => text_draft::over_bytes(&draft)?,
            false => draft,
        };
        if Common::of(self.target.vocabs().into_iter().chain(draft.vocabs())).is_err()
            && let Ok(text) = text_draft::over_bytes(&draft)
        {
            let (evaluator, rows) = open(&[&self.target], &requests, &decoding)?;
            let text = TextDraft::open(&self.target, &text, &rows.prompts(&requests))?;
            return self.start(evaluator, decoding, rows, Drafter::Text(text));
        }
        // A draft that cannot write text, for lack of a tokenizer, is refused here if its tokens are not the target's.
        let (evaluator, rows) = open(&[&self.target, &draft], &requests, &decoding)?;
        self.start(evaluator, decoding, rows, Drafter::Root)
    }

    /// The model that drafts; `None` if lookups alone do.
    fn model(&self) -> Result<Option<Source<B>>> {
        match (&self.draft, &self.lookup) {
            (Some(draft), _) => Ok(Some(draft.clone())),
            (None, None) if !self.model => {
                let what = "speculation without a model and without lookups".into();
                Err(Error::Unsupported { who: self.target.name(), what })
            }
            (None, None) => default_draft(&self.target).map(Some),
            (None, Some(_)) if !self.model => Ok(None),
            (None, Some(_)) => match default_draft(&self.target) {
                // No term can draft.
                Err(Error::Unsupported { .. }) => Ok(None),
                draft => draft.map(Some),
            },
        }
    }

    fn acceptance(&self) -> Acceptance {
        match self.same_text {
            true => Acceptance::Agreement,
            false => Acceptance::Rejection,
        }
    }

    fn scheduler(&self) -> DraftScheduler {
        match self.fixed {
            Some(tokens) => DraftScheduler::fixed(tokens),
            None => DraftScheduler::adaptive(self.longest, &self.memory),
        }
    }

    /// Generates from an evaluator whose first root is the target and whose second is the draft, after the tokens that
    /// have been pushed to it, as [`Batch::over`] does. With lookups it may have the target only, which are then the only drafts.
    ///
    /// # Errors
    /// * [`Error::VocabMismatch`] if draft and target give one id to different tokens.
    /// * [`Error::Unsupported`] if the draft lacks some of the target's tokens.
    /// * Any error of [`Batch::over`].
    pub fn over(&self, evaluator: Evaluator<B>, decoding: Decoding) -> Result<Batch<B>> {
        let rows = Rows::of(&evaluator, &decoding)?;
        let drafter = self.drafter_of(&evaluator);
        self.start(evaluator, decoding, rows, drafter)
    }

    /// Generates from an evaluator as [`over`](Self::over) does, each row with the id, seed, stops and limit of a request,
    /// as [`Batch::over_requests`] does.
    ///
    /// # Errors
    /// * The errors of [`over`](Self::over).
    /// * [`Error::Shape`] unless the requests have a sample for each row of the evaluator.
    pub fn over_requests<R: Into<Request>>(
        &self,
        evaluator: Evaluator<B>,
        requests: impl IntoIterator<Item = R>,
        decoding: Decoding,
    ) -> Result<Batch<B>> {
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let rows = Rows::of_requests(&evaluator, &requests, &decoding)?;
        let drafter = self.drafter_of(&evaluator);
        self.start(evaluator, decoding, rows, drafter)
    }

    /// What drafts for an evaluator that was opened by the caller.
    fn drafter_of(&self, evaluator: &Evaluator<B>) -> Drafter<B> {
        let second = evaluator.name(DRAFT).is_ok();
        if self.lookup.is_some() && !(self.model && second) { Drafter::None } else { Drafter::Root }
    }

    fn start(
        &self,
        evaluator: Evaluator<B>,
        decoding: Decoding,
        rows: Rows,
        drafter: Drafter<B>,
    ) -> Result<Batch<B>> {
        if let Drafter::Root = drafter {
            let (target, draft) = (evaluator.width(0)?, evaluator.width(DRAFT)?);
            Common::of(evaluator.vocabs(0)?.iter().chain(evaluator.vocabs(DRAFT)?))?;
            if draft < target {
                let what =
                    format!("drafting for `{}`: it has {draft} of {target} tokens", evaluator.name(0)?);
                return Err(Error::Unsupported { who: evaluator.name(DRAFT)?.into(), what });
            }
        }
        let open =
            |lookups: Lookups| lookups.lookup.validate().map(|()| LookupDraft::open(lookups, &evaluator));
        let lookup = self.lookup.clone().map(open).transpose()?;
        let (acceptance, scheduler) = (self.acceptance(), self.scheduler());
        let stepper = SpeculativeStepper::new(&evaluator, drafter, acceptance, scheduler)?;
        let stepper = stepper.lookup(lookup).most_rows(self.most_rows);
        Batch::start(evaluator, decoding, rows, Box::new(stepper))
    }
}
