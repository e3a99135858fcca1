/// How the sessions of an [`Evaluator`](super::Evaluator) are opened and run.
///
/// ```
/// use eft_core::OpenOptions;
///
/// let options = OpenOptions::default().parallel(true);
/// assert!(options.parallel && !options.every_term);
/// ```
#[must_use]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Run the passes of different engines at once, each in a thread. For models on different devices; on one device
    /// they would compete for it. Off by default.
    pub parallel: bool,
    /// Also run terms whose weights cancel, so that an attribution can report every term as it was written. Off by
    /// default.
    pub every_term: bool,
    /// The caches of rows that leave are kept while they hold at most this many tokens together, in each session, for rows
    /// that [join](super::Evaluator::join) with a prompt that begins as they do. Those that were not of use for the longest
    /// time are dropped first. 0, the default, keeps none.
    pub cached_tokens: usize,
}

impl OpenOptions {
    /// Sets [`parallel`](Self::parallel).
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// Sets [`every_term`](Self::every_term).
    pub fn every_term(mut self, every_term: bool) -> Self {
        self.every_term = every_term;
        self
    }

    /// Sets [`cached_tokens`](Self::cached_tokens).
    pub fn cached_tokens(mut self, tokens: usize) -> Self {
        self.cached_tokens = tokens;
        self
    }
}
