use crate::Prompt;
use crate::backend::Backend;
use crate::evaluator::Leaves;

/// A request whose prompt has not been read.
pub(super) struct Waiting<B: Backend> {
    /// Its rows in the batch, one for each sample.
    pub(super) rows: Vec<usize>,
    /// A number of its own, by which the evaluator knows what it has read of the prompt.
    pub(super) key: usize,
    pub(super) prompt: Prompt,
    pub(super) leaves: Leaves<B>,
}
