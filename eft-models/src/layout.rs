//! [`Layout`]: how the weights of linear layers are stored.

/// The layout in which the weight of a linear layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Outputs × inputs.
    OutIn,
    /// Inputs × outputs, as in GPT-2.
    InOut,
    /// Outputs × inputs, with queries, keys and values interleaved by key-value head, as in Falcon: each of `groups`
    /// consists of `queries` query heads, one key head and one value head.
    Grouped {
        /// The number of key-value heads.
        groups: usize,
        /// The number of query heads for each.
        queries: usize,
        /// The width of a head.
        head: usize,
    },
    /// Inputs × outputs, as one of several matrices of one tensor, whose name has no `.weight` at its end: the experts of
    /// Llama 4 and gpt-oss. Biases are those of one tensor, too, whose name has `_bias` at its end.
    Stacked {
        /// The index of the matrix.
        index: usize,
        /// The number of matrices.
        count: usize,
        /// Which columns of the matrix are outputs of this layer: column `from`, and each `every`-th one after it. In
        /// gpt-oss, the outputs of two layers alternate in one matrix.
        from: usize,
        /// The distance between these columns; 1 if all are.
        every: usize,
    },
    /// Outputs × inputs, for rotary embeddings that pair neighbouring channels of each head, as in Cohere. The loader
    /// moves the first channels of all pairs of a head before the second ones.
    Paired {
        /// The width of a head.
        head: usize,
    },
}
