//! [`PromptReads`]: how much of the prompts the models have read.
use std::ops::AddAssign;

use super::model::PlannedModel;
use crate::backend::Backend;

/// How many tokens of prompts the models have read, and how many they did not have to read, since a row that they held
/// already began with them. Each model that reads a prompt counts for itself; opaque sources are not counted.
///
/// ```
/// use eft_core::{from_fn, Evaluator, Host, PromptReads, Vocab};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
/// let mut evaluator = Evaluator::open(&[&model], &[vec![0, 1, 1].into()])?;
/// evaluator.join(&[vec![0, 1, 0].into()])?; // it begins as the first row does
/// let PromptReads { read, kept, .. } = evaluator.prompt_reads();
/// assert_eq!((read, kept), (3 + 1, 2));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptReads {
    /// The tokens that have been read.
    pub read: usize,
    /// The tokens that were in a cache already.
    pub kept: usize,
}

impl PromptReads {
    /// What is read where models are opened on their prompts.
    pub(super) fn of_opened<'a, B: Backend>(models: impl IntoIterator<Item = &'a PlannedModel<B>>) -> Self {
        let rows = models.into_iter().flat_map(PlannedModel::engine_rows);
        Self { read: rows.map(|row| row.tokens.len()).sum(), kept: 0 }
    }
}

impl AddAssign for PromptReads {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.kept += other.kept;
    }
}
