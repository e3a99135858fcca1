//! [`CachePlan`]: how the caches of a model are used.

/// How the caches of a model are used, as far as the probe found that the model supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CachePlan {
    /// Rows of different length share a cache, since the model leaves out masked slots. Otherwise each row has its own.
    pub(super) masked_slots: bool,
    /// Several tokens may follow those of a cache in one pass. Otherwise they are fed one by one.
    pub(super) multi_token: bool,
    /// The largest number of slots: a model's tables may be only as long as its context.
    pub(super) max_slots: Option<usize>,
    /// The largest number of tokens in one pass, over all rows.
    pub(super) max_tokens: usize,
}
