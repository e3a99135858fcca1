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
}
