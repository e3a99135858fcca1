//! [`ProvenSum`]: a remote model plus a local term, whose greedy choices are proven although the server tells only some
//! log-probs.
mod bound;
mod report;
mod session;

use std::sync::Arc;

use eft_core::{Backend, Engine, Error, LogitSource, Opened, Prompt, Result, Source, Vocab};

use crate::engine::RemoteEngine;
use report::Counts;
pub use report::ProofReport;
use session::ProvenSession;

/// How many tokens are named at most in one question for contenders.
const NAMED: usize = 128;

/// How many times as many of the likeliest tokens are asked for the second time, where tokens cannot be named.
const WIDER: usize = 8;

/// What happens to a greedy choice that is not proven after the second question.
///
/// ```
/// use eft_backend_remote::Unproven;
///
/// assert_eq!(Unproven::default(), Unproven::Accept);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unproven {
    /// The best token that is known is accepted, and [`Token::proven`](eft_core::Token::proven) says that it is not
    /// proven.
    #[default]
    Accept,
    /// The text ends with [`Error::Unproven`](crate::Error::Unproven).
    Refuse,
}

/// The sum of a remote model and a local term, such as `large + (&tuned - &small)`, whose greedy choices are proven.
///
/// A server that tells the 20 likeliest tokens leaves the others unknown, and one of them could have the best score
/// once the local term is added. The local term is known for all tokens, so each untold token's score has a bound: its
/// log-prob is at most the least that is told, and at most that of the whole remaining probability. If no bound reaches
/// the best known score, the choice is the same as with whole rows: it is *proven*. Otherwise the server is asked once
/// more: for the log-probs of the tokens that could be better, by name (vLLM, SGLang), or for 8 times as many of the
/// likeliest.
///
/// [`Token::proven`](eft_core::Token::proven) tells the outcome for each greedy token, [`report`](Self::report) counts
/// them, and [`Token::missed_mass`](eft_core::Token::missed_mass) bounds what sampling leaves out.
///
/// The sum is a source of its own and shares no passes with others: where the tuned model also drafts for it, the model
/// runs twice. Rows that are told whole need no proof: write `&large + (&tuned - &small)` for those.
///
/// ```no_run
/// use eft_backend_remote::{ProvenSum, Remote, RemoteEngine};
/// use eft_core::{Host, Prompt, Sampling, Source, Vocab};
///
/// # fn vocab() -> eft_core::Result<Vocab> { Vocab::new("ab", ["a", "b"]) }
/// # fn pair() -> (Source<Host>, Source<Host>) { unreachable!() }
/// let engine = Remote::vllm("http://127.0.0.1:8000").top(20).open()?.engine(Host, vocab()?)?;
/// let (tuned, small) = pair();
/// let sum = ProvenSum::new(&engine, &Source::new(engine.clone()), &(&tuned - &small))?;
/// for token in sum.source().generate([1, 5], Sampling::greedy())? {
///     let token = token?;
///     println!("{} {:?}", token.id, token.proven);
/// }
/// println!("{:?}", sum.report());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[must_use]
pub struct ProvenSum<B: Backend> {
    shared: Arc<Shared<B>>,
}

struct Shared<B: Backend> {
    engine: RemoteEngine<B>,
    large: Source<B>,
    delta: Source<B>,
    vocab: Arc<Vocab>,
    unproven: Unproven,
    counts: Counts,
}

impl<B: Backend> ProvenSum<B> {
    /// Makes the sum of a remote model and a local term. `large` is a source of the engine; its renderer makes token
    /// ids of prompts. Its weight is 1, and `delta` has its own, as in `0.7 * (&tuned - &small)`.
    ///
    /// # Errors
    /// * [`Error::VocabMismatch`] if the vocabularies do not fit together.
    /// * The errors of [`Source::check`] for `large + delta`.
    pub fn new(engine: &RemoteEngine<B>, large: &Source<B>, delta: &Source<B>) -> Result<Self> {
        let sum = large + delta;
        sum.check()?;
        let (engine, large, delta) = (engine.clone(), large.clone(), delta.clone());
        let vocab = sum.vocab().clone();
        let shared =
            Shared { engine, large, delta, vocab, unproven: Unproven::default(), counts: Counts::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Sets what happens to a greedy choice that is not proven; the counts begin anew.
    ///
    /// With [`Unproven::Refuse`], every position that is scored must be proven, also those of drafts and of samples.
    pub fn unproven(self, unproven: Unproven) -> Self {
        let Shared { engine, large, delta, vocab, .. } = &*self.shared;
        let (engine, large, delta) = (engine.clone(), large.clone(), delta.clone());
        let shared =
            Shared { engine, large, delta, vocab: vocab.clone(), unproven, counts: Counts::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the sum as a source, to generate from, to speculate on, or to combine further.
    pub fn source(&self) -> Source<B> {
        let name = format!("{} + {}", self.shared.large.name(), self.shared.delta.name());
        Source::opaque(Self { shared: self.shared.clone() }).named(name)
    }

    /// Returns how many positions were proven so far, by all texts of this sum.
    pub fn report(&self) -> ProofReport {
        self.shared.counts.read()
    }
}

impl<B: Backend> LogitSource for ProvenSum<B> {
    type Backend = B;

    fn backend(&self) -> &B {
        &self.shared.engine.spec().backend
    }

    fn vocab(&self) -> &Arc<Vocab> {
        &self.shared.vocab
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        if prompts.is_empty() {
            return Err(Error::EmptyBatch { what: "open" });
        }
        ProvenSession::open(self.shared.clone(), prompts)
    }
}

impl<B: Backend> std::fmt::Debug for ProvenSum<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvenSum")
            .field("engine", &self.shared.engine)
            .field("delta", &self.shared.delta.name())
            .finish_non_exhaustive()
    }
}
