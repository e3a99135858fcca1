use std::sync::Arc;

use crate::sample::{Processor, Sampling};
use crate::{Error, Result, TokenId};

/// How a text is generated: how tokens are drawn, when it ends, and what is told of each token.
///
/// By default: drawn as [`Sampling::default`] says, ended by any term's end-of-sequence id, by a full context, or
/// after 256 tokens.
#[derive(Clone)]
pub struct Decoding {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Applied in this order, before anything is drawn.
    pub processors: Vec<Arc<dyn Processor>>,
    /// A text ends after so many tokens; without a limit where `None`.
    pub max_tokens: Option<usize>,
    /// A text ends at these ids; at any term's end-of-sequence id where `None`.
    pub stop_ids: Option<Vec<TokenId>>,
    /// A text ends at these sequences, too.
    pub stop_sequences: Vec<Vec<TokenId>>,
    /// How many of the likeliest tokens are told at each position.
    pub alternatives: usize,
    /// Against how many rivals each term's share is told; `None` for no attribution.
    pub rivals: Option<usize>,
    /// Whether different models run in threads of their own.
    pub parallel: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            processors: Vec::new(),
            max_tokens: Some(256),
            stop_ids: None,
            stop_sequences: Vec::new(),
            alternatives: 0,
            rivals: None,
            parallel: false,
        }
    }
}

impl Decoding {
    /// Sets how tokens are drawn.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds a processor, behind those there are.
    pub fn processor(mut self, processor: impl Processor + 'static) -> Self {
        self.processors.push(Arc::new(processor));
        self
    }

    /// Ends a text after so many tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Lets a text go on until it ends or the context is full. Without either, it never ends.
    pub fn unlimited(mut self) -> Self {
        self.max_tokens = None;
        self
    }

    /// Ends a text at these ids instead of the models' own end-of-sequence ids; at none, if there are none.
    pub fn stop_ids(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.stop_ids = Some(ids.into_iter().collect());
        self
    }

    /// Ends a text at this sequence of tokens, too.
    pub fn stop_sequence(mut self, tokens: impl Into<Vec<TokenId>>) -> Self {
        self.stop_sequences.push(tokens.into());
        self
    }

    /// Tells the `k` likeliest tokens of the combined distribution at each position.
    pub fn alternatives(mut self, k: usize) -> Self {
        self.alternatives = k;
        self
    }

    /// Tells what each term of the combination did for a token against its `rivals` likeliest rivals. Terms that
    /// cancel are run for it, too.
    pub fn attribution(mut self, rivals: usize) -> Self {
        self.rivals = Some(rivals);
        self
    }

    /// Runs the passes of different models in threads of their own: for terms on different devices.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// Every setting in its range.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the first that is not.
    pub fn validate(&self) -> Result<()> {
        self.sampling.validate()?;
        if self.stop_sequences.iter().any(Vec::is_empty) {
            return Err(Error::parameter("stop_sequence", "empty", "at least one token"));
        }
        Ok(())
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
            .field("max_tokens", &self.max_tokens)
            .field("stop_ids", &self.stop_ids)
            .field("stop_sequences", &self.stop_sequences)
            .finish_non_exhaustive()
    }
}
