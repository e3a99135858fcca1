use std::sync::Arc;

use super::{processor::Processor, sampling::Sampling, truncation::Truncation};
use crate::{Error, Result, TokenId};

/// The settings of generation: how tokens are drawn, when a text ends, and what is reported for each token.
///
/// By default tokens are drawn as [`Sampling::default`] says, and a text ends at an end-of-sequence id of any term,
/// when a model's context is full, or after 256 tokens.
///
/// ```
/// use eft_core::sample::FrequencyPenalty;
/// use eft_core::{Decoding, Sampling};
///
/// let decoding = Decoding::from(Sampling::default().temperature(0.7).seed(3))
///     .processor(FrequencyPenalty::new(0.5)?)
///     .max_tokens(64)
///     .alternatives(5);
/// assert!(decoding.validate().is_ok());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct Decoding {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// The processors of the scores, in the order in which they are applied, before temperature and filters.
    pub processors: Vec<Arc<dyn Processor>>,
    /// The truncations, in the order in which they are applied, after the filters of `sampling`. Greedy decoding ignores
    /// them.
    pub truncations: Vec<Arc<dyn Truncation>>,
    /// The most tokens of a text; `None` for no limit.
    pub max_tokens: Option<usize>,
    /// The ids that end a text; `None` for the end-of-sequence ids of all terms.
    pub stop_ids: Option<Vec<TokenId>>,
    /// Sequences of tokens that also end a text.
    pub stop_sequences: Vec<Vec<TokenId>>,
    /// How many of the likeliest tokens are reported at each position.
    pub alternatives: usize,
    /// The number of rival tokens that each term's contribution is reported against; `None` for no attribution.
    pub rivals: Option<usize>,
    /// Whether the passes of different models run in separate threads.
    pub parallel: bool,
    /// How many tokens of prompts that [join](crate::decode::Batch::join) a batch are read at a time; `None` for whole
    /// prompts.
    pub prefill: Option<usize>,
    /// How many tokens the models' caches may hold for rows that have ended: see
    /// [`OpenOptions::cached_tokens`](crate::OpenOptions::cached_tokens).
    pub cached_tokens: usize,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            processors: Vec::new(),
            truncations: Vec::new(),
            max_tokens: Some(256),
            stop_ids: None,
            stop_sequences: Vec::new(),
            alternatives: 0,
            rivals: None,
            parallel: false,
            prefill: None,
            cached_tokens: 0,
        }
    }
}

impl Decoding {
    /// Sets how tokens are drawn.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds a processor, which is applied after those added before.
    pub fn processor(mut self, processor: impl Processor + 'static) -> Self {
        self.processors.push(Arc::new(processor));
        self
    }

    /// Adds a truncation, which is applied after those added before.
    pub fn truncation(mut self, truncation: impl Truncation + 'static) -> Self {
        self.truncations.push(Arc::new(truncation));
        self
    }

    /// Ends a text after this many tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Removes the limit of tokens: a text continues until a stop or a full context ends it, or for ever.
    pub fn unlimited(mut self) -> Self {
        self.max_tokens = None;
        self
    }

    /// Ends a text at these ids instead of the models' own end-of-sequence ids. An empty list ends it at none.
    pub fn stop_ids(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.stop_ids = Some(ids.into_iter().collect());
        self
    }

    /// Also ends a text at this sequence of tokens.
    pub fn stop_sequence(mut self, tokens: impl Into<Vec<TokenId>>) -> Self {
        self.stop_sequences.push(tokens.into());
        self
    }

    /// Reports the `k` likeliest tokens of the combined distribution at each position.
    pub fn alternatives(mut self, k: usize) -> Self {
        self.alternatives = k;
        self
    }

    /// Reports what each term of the combination contributed to the choice of each token over its `rivals` likeliest
    /// rivals: see [`Attribution`](super::Attribution). Terms that cancel are then run, too.
    pub fn attribution(mut self, rivals: usize) -> Self {
        self.rivals = Some(rivals);
        self
    }

    /// Runs the passes of different models in separate threads, which helps if they are on different devices.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// Reads the prompts of requests that [join](crate::decode::Batch::join) a running batch in pieces, so that a long prompt
    /// does not make the other rows wait: a step reads at most this many tokens of one long prompt, and at most as many of
    /// prompts that need no more than that. Texts are as if the prompts were read whole, except through rounding.
    ///
    /// Models that cannot go back into their prompts ([`Session::rollback_limit`](crate::Session::rollback_limit)), and opaque
    /// sources, read every prompt whole.
    ///
    /// ```
    /// use eft_core::{from_fn, Decoding, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
    /// let mut batch = model.generate_batch([vec![0]], Decoding::default().max_tokens(4).prefill(4))?;
    /// batch.join([vec![1; 10]])?;
    /// // The first row gets its tokens while the prompt is read.
    /// let rows: Vec<_> = batch.map(|event| Ok(event?.row())).collect::<eft_core::Result<_>>()?;
    /// assert_eq!(rows, [0, 0, 0, 1, 0, 0, 1, 1, 1, 1]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn prefill(mut self, tokens: usize) -> Self {
        self.prefill = Some(tokens);
        self
    }

    /// Keeps the caches of rows that have ended while they hold at most this many tokens together, in each model's session.
    /// Requests that join with a prompt that begins as such a row does, such as the next turn of a chat, read only the rest.
    /// Rows that were not of use for the longest time are dropped first. By default none are kept.
    ///
    /// Models whose rows share one cache (ONNX files and TorchScript modules) also compute the rows that are kept.
    pub fn cached_tokens(mut self, tokens: usize) -> Self {
        self.cached_tokens = tokens;
        self
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for the first setting that is not.
    pub fn validate(&self) -> Result<()> {
        self.sampling.validate()?;
        if self.prefill == Some(0) {
            return Err(Error::parameter("prefill", 0, "at least 1 token"));
        }
        check_sequences(&self.stop_sequences)
    }
}

/// Checks that no stop sequence is empty: an empty one would end every text before its first token.
pub(crate) fn check_sequences(sequences: &[Vec<TokenId>]) -> Result<()> {
    match sequences.iter().any(Vec::is_empty) {
        true => Err(Error::parameter("stop_sequence", "empty", "at least one token")),
        false => Ok(()),
    }
}

impl From<Sampling> for Decoding {
    fn from(sampling: Sampling) -> Self {
        Self::default().sampling(sampling)
    }
}

impl From<&Sampling> for Decoding {
    fn from(sampling: &Sampling) -> Self {
        Self::from(*sampling)
    }
}

impl From<&Decoding> for Decoding {
    fn from(decoding: &Decoding) -> Self {
        decoding.clone()
    }
}

impl std::fmt::Debug for Decoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding")
            .field("sampling", &self.sampling)
            .field("processors", &self.processors.len())
            .field("truncations", &self.truncations.len())
            .field("max_tokens", &self.max_tokens)
            .field("stop_ids", &self.stop_ids)
            .field("stop_sequences", &self.stop_sequences)
            .finish_non_exhaustive()
    }
}
