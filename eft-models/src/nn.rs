//! [`Nn`]: the operations of neural networks that a decoder is made of, for a tensor library to implement.
//!
//! Activations are matrices with a row for each token, of all rows of the batch one after another: batches are
//! ragged, and nothing is padded. They are tensors of the library's [`Backend`], so that logits are scores as they
//! are.
use eft_core::{Backend, Result, TokenId};

use crate::spec::{Activation, AttentionSpec};
use crate::tensors::RawTensor;

/// A tensor of an [`Nn`].
pub type Tensor<N> = <<N as Nn>::Backend as Backend>::Tensor;

/// The operations that decoders are made of.
///
/// Shapes are rows × columns. Wrong shapes are errors of the library, never panics.
pub trait Nn: Clone + Send + Sync + 'static {
    /// Where activations live.
    type Backend: Backend;

    /// The weights of a linear layer or of an embedding, in whatever form the library multiplies them best.
    type Linear: Send;

    /// Keys and values of one layer, for the rows of a batch.
    type Cache: Send;

    /// The library.
    fn backend(&self) -> &Self::Backend;

    /// Whether what is loaded may be of quantised blocks. A library that takes none is given dequantised numbers.
    fn takes_blocks(&self) -> bool {
        false
    }

    /// Brings a vector or a matrix to the device, in the type that is computed with; `plus` is added to it.
    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<Tensor<Self>>;

    /// Brings the weights of a linear layer to the device. `transposed` weights have a row for each input.
    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear>;

    /// Brings an embedding to the device, whose rows are looked up.
    fn load_embedding(&self, weight: &RawTensor<'_>) -> Result<Self::Linear> {
        self.load_linear(weight, false, None)
    }

    /// The weights of an embedding as those of a head, which is tied to it.
    fn tied(&self, embedding: &Self::Linear) -> Self::Linear {
        self.share(embedding)
    }

    /// Another handle to the same weights.
    fn share(&self, linear: &Self::Linear) -> Self::Linear;

    /// Runs a forward pass that multiplies each of so many weights, counted once for each token: a library may go to
    /// threads of its own once for all of the pass.
    fn pass<T: Send>(&self, _products: usize, forward: impl FnOnce() -> T + Send) -> T {
        forward()
    }

    /// Some rows of an embedding's weight.
    fn embed(&self, embedding: &Self::Linear, ids: &[TokenId]) -> Result<Tensor<Self>>;

    /// `x·Wᵀ + b`.
    fn linear(&self, x: &Tensor<Self>, linear: &Self::Linear) -> Result<Tensor<Self>>;

    /// The same of several layers that read the same `x`.
    fn linears(&self, x: &Tensor<Self>, linears: &[&Self::Linear]) -> Result<Vec<Tensor<Self>>> {
        linears.iter().map(|linear| self.linear(x, linear)).collect()
    }

    /// Each row over its root mean square, times `weight`. Rows may be wider than `weight`: then each run of its
    /// width is normed by itself, as heads are.
    fn rms_norm(&self, x: &Tensor<Self>, weight: &Tensor<Self>, epsilon: f64) -> Result<Tensor<Self>>;

    /// Each row less its mean, over its deviation, times `weight`, plus `bias`.
    fn layer_norm(
        &self,
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: &Tensor<Self>,
        epsilon: f64,
    ) -> Result<Tensor<Self>>;

    /// A constant matrix that was computed on the host: the angles of positions.
    fn constant(&self, values: &[f32], width: usize) -> Result<Tensor<Self>>;

    /// Turns the first `2·width(cos)` channels of each head, by halves: channel `i` with channel `i + width(cos)`.
    fn rope(
        &self,
        x: &Tensor<Self>,
        head_dim: usize,
        cos: &Tensor<Self>,
        sin: &Tensor<Self>,
    ) -> Result<Tensor<Self>>;

    /// Writes keys and values of each span to the cache, and attends from its queries to all that the cache then
    /// holds of its row, up to each query's own position.
    fn attention(
        &self,
        query: &Tensor<Self>,
        key: &Tensor<Self>,
        value: &Tensor<Self>,
        cache: &mut Self::Cache,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<Tensor<Self>>;

    /// An empty cache for so many rows.
    fn cache(&self, rows: usize, spec: &AttentionSpec) -> Self::Cache;

    /// Makes row `i` of a cache what row `rows[i]` was; `lengths` tells how many tokens of each old row count.
    fn select(&self, cache: &mut Self::Cache, rows: &[usize], lengths: &[usize]) -> Result<()>;

    /// Elementwise sum.
    fn add(&self, a: &Tensor<Self>, b: &Tensor<Self>) -> Result<Tensor<Self>>;

    /// Times a number.
    fn scale(&self, x: &Tensor<Self>, factor: f32) -> Result<Tensor<Self>>;

    /// `cap·tanh(x / cap)`.
    fn softcap(&self, x: &Tensor<Self>, cap: f32) -> Result<Tensor<Self>>;

    /// A nonlinearity.
    fn activate(&self, x: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>>;

    /// A nonlinearity of `gate`, times `up`.
    fn gated(&self, gate: &Tensor<Self>, up: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>>;

    /// Some columns.
    fn columns(&self, x: &Tensor<Self>, columns: std::ops::Range<usize>) -> Result<Tensor<Self>>;

    /// Some rows, in the order given.
    fn rows(&self, x: &Tensor<Self>, rows: &[usize]) -> Result<Tensor<Self>>;

    /// `x`, with row `i` of `added` added to row `rows[i]`; no row is named twice.
    fn add_rows(&self, x: &Tensor<Self>, rows: &[usize], added: &Tensor<Self>) -> Result<Tensor<Self>>;
}

/// The new tokens of one row of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Row of the batch.
    pub row: usize,
    /// How many tokens the cache holds of the row.
    pub past: usize,
    /// Which rows of the activations are its new tokens.
    pub tokens: std::ops::Range<usize>,
}
