//! The state of one row of a sampler, and how its tokens are chosen.
use std::sync::Arc;

use super::decoding::Decoding;
use super::processor::{History, Processor};
use super::sampling::Sampling;
use super::truncation::Truncation;
use super::uniform::RowId;
use crate::{Result, TokenId};

/// How the tokens of a row are chosen.
#[derive(Clone)]
pub(crate) struct RowSampling {
    pub(crate) sampling: Sampling,
    pub(crate) processors: Vec<Arc<dyn Processor>>,
    pub(crate) truncations: Vec<Arc<dyn Truncation>>,
    pub(crate) alternatives: usize,
}

/// A row before its first token: who it is, and how its tokens are chosen.
#[derive(Clone)]
pub(crate) struct RowStart {
    pub(crate) id: RowId,
    pub(crate) seed: u64,
    pub(crate) sampling: Arc<RowSampling>,
}

/// One row of a sampler.
#[derive(Clone)]
pub(super) struct RowState {
    pub(super) start: RowStart,
    pub(super) generated: Vec<TokenId>,
    /// For each processor, the prompt that it requests.
    prompts: Vec<Vec<TokenId>>,
}

impl RowSampling {
    pub(crate) fn of(decoding: &Decoding) -> Self {
        Self {
            sampling: decoding.sampling,
            processors: decoding.processors.clone(),
            truncations: decoding.truncations.clone(),
            alternatives: decoding.alternatives,
        }
    }

    /// Whether tokens are chosen from other scores than those of the combination.
    pub(super) fn changes_scores(&self) -> bool {
        let filters = self.sampling.filter().is_some_and(|filter| !filter.is_identity());
        !self.processors.is_empty() || filters || !self.active_truncations().is_empty()
    }

    /// The truncations; greedy decoding has none.
    pub(super) fn active_truncations(&self) -> &[Arc<dyn Truncation>] {
        if self.sampling.is_greedy() { &[] } else { &self.truncations }
    }
}

impl RowState {
    /// A row that no processor has been given the prompt of.
    pub(super) fn new(start: RowStart) -> Self {
        let prompts = vec![Vec::new(); start.sampling.processors.len()];
        Self { start, generated: Vec::new(), prompts }
    }

    pub(super) fn sampling(&self) -> &RowSampling {
        &self.start.sampling
    }

    /// Gives the processors the prompts that they request: `prompt(term)` returns the token ids as the term renders it.
    pub(super) fn read_prompts<'a>(&mut self, prompt: impl Fn(&str) -> Result<&'a [TokenId]>) -> Result<()> {
        for (processor, tokens) in self.start.sampling.processors.iter().zip(&mut self.prompts) {
            if let Some(term) = processor.prompt_of() {
                *tokens = prompt(term)?.to_vec();
            }
        }
        Ok(())
    }

    /// The first `length` tokens.
    pub(super) fn history(&self, length: usize) -> History<'_> {
        History::new(&self.generated[..length]).with_row(self.start.id)
    }

    /// The processors, each with the history of the first `length` tokens.
    pub(super) fn processors(&self, length: usize) -> impl Iterator<Item = (&dyn Processor, History<'_>)> {
        let history = self.history(length);
        let processors = self.start.sampling.processors.iter().zip(&self.prompts);
        processors.map(move |(processor, prompt)| (&**processor, history.with_prompt(prompt)))
    }
}
