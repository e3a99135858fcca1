//! [`Reach`] and [`Temperature`]: what depends on positions in attention, besides rotary embeddings.

/// How far back queries attend.
///
/// ```
/// use eft_models::spec::Reach;
///
/// // Runs of four tokens: 0 to 3, 4 to 7, and so on.
/// let chunks = Reach { window: None, chunk: Some(4) };
/// assert_eq!([3, 4, 6].map(|position| chunks.first(position)), [0, 4, 4]);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The sliding window: see [`AttentionSpec::window`](crate::spec::AttentionSpec::window).
    pub window: Option<usize>,
    /// The size of chunks: see [`AttentionSpec::chunk`](crate::spec::AttentionSpec::chunk).
    pub chunk: Option<usize>,
}

impl Reach {
    /// Returns the first position that the query at a position attends to.
    pub fn first(self, position: usize) -> usize {
        let of_window = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let of_chunk = self.chunk.map_or(0, |chunk| position - position % chunk.max(1));
        of_window.max(of_chunk)
    }
}

/// The growth of queries with their position, which keeps attention sharp in long texts (Nakanishi 2025, arXiv 2501.19399):
/// the query at position `p`, counted from 0, is multiplied by `1 + scale·ln(1 + ⌊(p + first) / every⌋)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// The factor of the logarithm.
    pub scale: f32,
    /// After how many tokens the queries grow for the first time.
    pub every: usize,
    /// The number of the first position: 1 in Llama 4, and 0 in Mistral 3.
    pub first: usize,
}

impl Temperature {
    /// Returns the factor of the query at a position.
    pub fn factor(&self, position: usize) -> f32 {
        1.0 + self.scale * (((position + self.first) / self.every.max(1)) as f32).ln_1p()
    }
}
