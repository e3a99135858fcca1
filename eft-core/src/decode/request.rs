use std::sync::Arc;

use crate::sample::{Decoding, Processor, RowSampling, Truncation, check_sequences};
use crate::{Error, Prompt, Result, Sampling, TokenId};

/// One text to generate, or several samples of it: a prompt, and the settings that differ from the
/// [`Decoding`](super::Decoding) of the batch.
///
/// Every prompt converts into a request without settings, so prompts can be passed wherever requests are expected.
///
/// The same id and seed give the same text, whatever other requests are in the batch. The default id is the index of
/// the request in its batch, so give ids of your own where texts must not depend on the order of the batch.
///
/// ```
/// use eft_core::decode::Request;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
/// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0, 2.0]));
/// let request = Request::new([0]).id(7).seed(3).max_tokens(4).samples(2);
///
/// let texts = |requests: Vec<Request>| -> Vec<_> {
///     let batch = model.generate_batch(requests, Decoding::default()).unwrap();
///     batch.text().unwrap().read().into_iter().map(Result::unwrap).collect()
/// };
/// let alone = texts(vec![request.clone()]);
/// let beside_others = texts(vec![[1].into(), request]);
/// assert_eq!(alone, beside_others[1..]);
/// assert_ne!(alone[0], alone[1]);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct Request {
    /// The prompt.
    pub prompt: Prompt,
    /// The stable id from which random numbers are made; the index of the request in its batch if `None`.
    pub id: Option<u64>,
    /// The seed; that of `sampling` if `None`.
    pub seed: Option<u64>,
    /// How tokens are drawn; as the batch says if `None`.
    pub sampling: Option<Sampling>,
    /// The processors of the scores, which are applied after those of the batch.
    pub processors: Vec<Arc<dyn Processor>>,
    /// The truncations, which are applied after those of the batch.
    pub truncations: Vec<Arc<dyn Truncation>>,
    /// How many of the likeliest tokens are reported at each position; as many as the batch says if `None`.
    pub alternatives: Option<usize>,
    /// The number of rivals against which each term's contribution is reported; as the batch says if `None`.
    pub attribution: Option<usize>,
    /// The most tokens of the text; the limit of the batch if `None`.
    pub max_tokens: Option<usize>,
    /// The ids that end the text; those of the batch if `None`.
    pub stop_ids: Option<Vec<TokenId>>,
    /// Sequences of tokens that end the text, besides those of the batch.
    pub stop_sequences: Vec<Vec<TokenId>>,
    /// Strings that end the text where the batch is read as [text](super::Batch::text), and are ignored elsewhere.
    pub stop_strings: Vec<String>,
    /// Whether the stop string that ends the text is part of it.
    pub keep_stop: bool,
    /// How many texts are sampled from the prompt, which the models read once for all of them.
    pub samples: usize,
}

impl Request {
    /// Creates the request of one text.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            id: None,
            seed: None,
            sampling: None,
            processors: Vec::new(),
            truncations: Vec::new(),
            alternatives: None,
            attribution: None,
            max_tokens: None,
            stop_ids: None,
            stop_sequences: Vec::new(),
            stop_strings: Vec::new(),
            keep_stop: false,
            samples: 1,
        }
    }

    /// Sets the stable id. Requests of one id and one seed draw the same random numbers.
    pub fn id(mut self, id: u64) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how tokens are drawn. Rows of one batch may differ in it; those with equal filters are filtered together.
    ///
    /// ```
    /// use eft_core::decode::Request;
    /// use eft_core::sample::LogitBias;
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("abc", ["a", "b", "c"])?;
    /// let model = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0, 2.0]));
    /// let requests = [
    ///     Request::new([0]).sampling(Sampling::greedy()),
    ///     Request::new([0]).sampling(Sampling::greedy()).processor(LogitBias::new([(1, 5.0)])?),
    ///     Request::new([0]),
    /// ];
    /// let decoding = Decoding::from(Sampling::default().top_k(1)).max_tokens(2);
    /// let texts: Result<Vec<_>, _> = model.generate_batch(requests, decoding)?.text()?.read().into_iter().collect();
    /// assert_eq!(texts.unwrap(), ["cc", "bb", "cc"]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Adds a processor for this request, which is applied after those of the batch and those added before.
    pub fn processor(mut self, processor: impl Processor + 'static) -> Self {
        self.processors.push(Arc::new(processor));
        self
    }

    /// Adds a truncation for this request, which is applied after those of the batch and those added before.
    pub fn truncation(mut self, truncation: impl Truncation + 'static) -> Self {
        self.truncations.push(Arc::new(truncation));
        self
    }

    /// Reports the `k` likeliest tokens of the combined distribution at each position.
    pub fn alternatives(mut self, k: usize) -> Self {
        self.alternatives = Some(k);
        self
    }

    /// Reports for each token of this text what each term contributed to its choice over its `rivals` likeliest rivals, as
    /// [`Decoding::attribution`](crate::Decoding::attribution) does for all texts of a batch.
    ///
    /// A batch that is opened with such a request also opens the models of terms that cancel, on the prompts of all of its
    /// requests. A request that joins a batch without them is refused if some of its terms cancel
    /// ([`Source::has_cancelled_terms`](crate::Source::has_cancelled_terms)).
    ///
    /// ```
    /// use eft_core::decode::{Event, Request};
    /// use eft_core::{from_fn, Decoding, Host, Sampling, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let large = from_fn(Host, vocab.clone(), |_| Ok(vec![1.0, 0.0])).named("large");
    /// let tuned = from_fn(Host, vocab, |_| Ok(vec![0.0, 3.0])).named("tuned");
    /// let requests = [Request::new([0]), Request::new([0]).attribution(1)];
    /// let decoding = Decoding::from(Sampling::greedy()).max_tokens(1);
    /// for event in (large + tuned).generate_batch(requests, decoding)? {
    ///     if let Event::Token { row, token } = event? {
    ///         assert_eq!(token.attribution.is_some(), row == 1);
    ///     }
    /// }
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn attribution(mut self, rivals: usize) -> Self {
        self.attribution = Some(rivals);
        self
    }

    /// Ends the text after this many tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Ends the text at these ids instead of those of the batch. An empty list ends it at none.
    pub fn stop_ids(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.stop_ids = Some(ids.into_iter().collect());
        self
    }

    /// Also ends the text at this sequence of tokens.
    pub fn stop_sequence(mut self, tokens: impl Into<Vec<TokenId>>) -> Self {
        self.stop_sequences.push(tokens.into());
        self
    }

    /// Also ends the text before this string, wherever its tokens begin and end.
    pub fn until(mut self, stop: impl Into<String>) -> Self {
        self.stop_strings.push(stop.into());
        self
    }

    /// Also ends the text before any of these strings, wherever their tokens begin and end.
    pub fn until_any<S: Into<String>>(mut self, stops: impl IntoIterator<Item = S>) -> Self {
        self.stop_strings.extend(stops.into_iter().map(Into::into));
        self
    }

    /// Sets whether the stop string that ends the text is part of it. By default it is not.
    pub fn keep_stop(mut self, keep: bool) -> Self {
        self.keep_stop = keep;
        self
    }

    /// Samples this many texts from the prompt. They take consecutive rows of the batch.
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Checks that every setting is in its range.
    ///
    /// ```
    /// use eft_core::decode::Request;
    ///
    /// assert!(Request::new([0]).samples(2).validate().is_ok());
    /// assert!(Request::new([0]).samples(0).validate().is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for the first setting that is not.
    pub fn validate(&self) -> Result<()> {
        self.sampling.map_or(Ok(()), |sampling| sampling.validate())?;
        check_sequences(&self.stop_sequences)?;
        check_stop_strings(&self.stop_strings)?;
        match self.samples {
            0 => Err(Error::parameter("samples", 0, "at least 1")),
            _ => Ok(()),
        }
    }
}

impl Request {
    /// How its tokens are chosen in a batch under `decoding`.
    pub(super) fn row_sampling(&self, decoding: &Decoding) -> RowSampling {
        let mut row = RowSampling::of(decoding);
        row.sampling = self.sampling.unwrap_or(row.sampling);
        row.processors.extend(self.processors.iter().cloned());
        row.truncations.extend(self.truncations.iter().cloned());
        row.alternatives = self.alternatives.unwrap_or(row.alternatives);
        row
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("prompt", &self.prompt)
            .field("id", &self.id)
            .field("seed", &self.seed)
            .field("sampling", &self.sampling)
            .field("processors", &self.processors.len())
            .field("truncations", &self.truncations.len())
            .field("attribution", &self.attribution)
            .field("max_tokens", &self.max_tokens)
            .field("stop_ids", &self.stop_ids)
            .field("stop_sequences", &self.stop_sequences)
            .field("stop_strings", &self.stop_strings)
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

/// Checks that no stop string is empty: an empty one would end every text before its first character.
pub(super) fn check_stop_strings(stops: &[String]) -> Result<()> {
    match stops.iter().any(String::is_empty) {
        true => Err(Error::parameter("until", "\"\"", "at least one character")),
        false => Ok(()),
    }
}

impl<P: Into<Prompt>> From<P> for Request {
    fn from(prompt: P) -> Self {
        Self::new(prompt)
    }
}
