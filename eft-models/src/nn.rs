//! [`Nn`]: the neural-network operations that a decoder consists of, for a tensor library to implement.
//!
//! Activations are matrices with one row for each token, of all rows of the batch one after another: batches are
//! ragged, and nothing is padded. They are tensors of the library's [`Backend`], so logits are scores without a copy.
use std::ops::Range;

use eft_core::{Backend, Result, TokenId};

use crate::spec::{Activation, AttentionSpec};
use crate::tensors::RawTensor;

/// A tensor of an [`Nn`].
pub type Tensor<N> = <<N as Nn>::Backend as Backend>::Tensor;

/// The operations that decoders consist of.
///
/// Shapes are rows × columns. A wrong shape is an error of the library, never a panic; so is every failure of the
/// device. `conformance::ReferenceNn` (feature `conformance`) implements every operation in plain loops, and the
/// functions of `conformance` check an implementation.
///
/// ```
/// # #[cfg(feature = "conformance")] {
/// use eft_core::{Sampling, Source};
/// use eft_models::conformance::ReferenceNn;
/// use eft_models::{Checkpoint, DecoderEngine, Nn};
///
/// // Whatever the tensor library: an `Nn` and a checkpoint make an engine, and that a source.
/// fn load<N: Nn>(nn: N, folder: &str) -> Result<Source<N::Backend>, eft_models::Error> {
///     Ok(Source::new(DecoderEngine::load(nn, &Checkpoint::open(folder)?, None)?))
/// }
///
/// let model = load(ReferenceNn, concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/qwen2"))?;
/// let first = model.generate([1, 5, 9], Sampling::greedy())?.next();
/// assert!(first.is_some());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Nn: Clone + Send + Sync + 'static {
    /// The backend whose tensors the activations are.
    type Backend: Backend;

    /// The weights of a linear layer or an embedding, in the form that the library multiplies fastest.
    type Linear: Send;

    /// The keys and values of one layer, for all rows of the batch.
    type Cache: Send;

    /// Returns the backend.
    fn backend(&self) -> &Self::Backend;

    /// Returns whether weights may be passed as quantised blocks; `false` by default. If not, the loader dequantises
    /// them.
    fn takes_blocks(&self) -> bool {
        false
    }

    /// Loads a vector (as one row) or a matrix onto the device, in the type that is computed with, and adds `plus` to
    /// every entry.
    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<Tensor<Self>>;

    /// Loads the weight of a linear layer onto the device: outputs × inputs, or inputs × outputs if `transposed`. The
    /// bias is a vector of the outputs.
    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear>;

    /// Loads a weight as [`load_linear`](Self::load_linear) does, but without rounding it to fewer bits than it is stored in: that of an
    /// adapter or of learned positions. By default it is the same.
    fn load_exact(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear> {
        self.load_linear(weight, transposed, bias)
    }

    /// Loads the weight of a linear layer, outputs × inputs, whose rows are stored in pairs: [`RawTensor::unpaired`] gives their
    /// order in the layer, where `head` is the width of a head. The bias is in the order of the layer.
    ///
    /// By default, the rows are reordered in a copy. A library that multiplies with weights in the memory of their file can
    /// reorder the products instead.
    fn load_paired(
        &self,
        weight: &RawTensor<'_>,
        head: usize,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear> {
        self.load_linear(&weight.unpaired(head), false, bias)
    }

    /// Loads an embedding onto the device: vocabulary × width. Its rows are looked up by [`embed`](Self::embed).
    fn load_embedding(&self, weight: &RawTensor<'_>) -> Result<Self::Linear> {
        self.load_linear(weight, false, None)
    }

    /// Returns the weights of the output head that is tied to an embedding.
    fn tied(&self, embedding: &Self::Linear) -> Self::Linear {
        self.share(embedding)
    }

    /// Returns another handle to the same weights.
    fn share(&self, linear: &Self::Linear) -> Self::Linear;

    /// Runs `forward`, a whole forward pass, and returns its result. `products` is the number of multiplications with
    /// weights in it: a library may enter its own thread pool here, once for the pass, if it is large enough.
    fn pass<T: Send>(&self, products: usize, forward: impl FnOnce() -> T + Send) -> T {
        let _ = products;
        forward()
    }

    /// Looks up the rows of an embedding: ids × width.
    fn embed(&self, embedding: &Self::Linear, ids: &[TokenId]) -> Result<Tensor<Self>>;

    /// Returns `x·Wᵀ + b`: tokens × outputs, for `x` of tokens × inputs.
    fn linear(&self, x: &Tensor<Self>, linear: &Self::Linear) -> Result<Tensor<Self>>;

    /// Returns `x·Wᵀ + b` for several layers that read the same `x`.
    fn linears(&self, x: &Tensor<Self>, linears: &[&Self::Linear]) -> Result<Vec<Tensor<Self>>> {
        linears.iter().map(|linear| self.linear(x, linear)).collect()
    }

    /// RMS norm (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4): divides each row by `√(mean(x²) + epsilon)`, and
    /// multiplies it by `weight`.
    ///
    /// The width of `weight` is that of `x`, or divides it. If it is less, each consecutive run of this many columns is
    /// normalised by itself: with a weight as wide as a head, each head is.
    fn rms_norm(&self, x: &Tensor<Self>, weight: &Tensor<Self>, epsilon: f64) -> Result<Tensor<Self>>;

    /// Layer norm (Ba et al. 2016, arXiv 1607.06450): `(x − mean) / √(variance + epsilon) · weight + bias`, for each
    /// row, or for each run of columns as in [`rms_norm`](Self::rms_norm) if `weight` and `bias` are narrower than `x`.
    fn layer_norm(
        &self,
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: &Tensor<Self>,
        epsilon: f64,
    ) -> Result<Tensor<Self>>;

    /// Brings a matrix that was computed on the host to the device, in row-major order: cosines and sines of positions.
    fn constant(&self, values: &[f32], width: usize) -> Result<Tensor<Self>>;

    /// Rotates the first `2·p` channels of each head by the angles of its token, where `cos` and `sin` are tokens ×
    /// `p`: channel `i < p` is paired with channel `i + p`, so that `(a, b)` becomes `(a·cos − b·sin, b·cos + a·sin)`.
    /// Other channels stay unchanged. `x` is tokens × (heads · `head_dim`).
    ///
    /// With `p = 1`, `cos = 0` and `sin = 1`, a head `[1, 2, 3]` becomes `[−2, 1, 3]`.
    fn rope(
        &self,
        x: &Tensor<Self>,
        head_dim: usize,
        cos: &Tensor<Self>,
        sin: &Tensor<Self>,
    ) -> Result<Tensor<Self>>;

    /// Causal attention with a cache. For each span, writes its keys and values to the cache of its row after the first
    /// `span.past` tokens, overwriting any old entries; then each query attends to the tokens of its row up to its own
    /// position, or to those from [`AttentionSpec::first_seen`] on. Spans are of different rows, in the order of their tokens.
    ///
    /// Query head `h` reads key-value head `h / (heads / kv_heads)`. Scores are multiplied by `spec.scale`, then
    /// soft-capped. If there are sinks, the weight of a token with score `s` is `exp(s) / (Σ exp(sᵢ) + exp(sink))`, with the
    /// sink of the query's head. Returns the weighted sums of the values, in the shape of the queries.
    fn attention(
        &self,
        input: AttentionInput<'_, Tensor<Self>>,
        cache: &mut Self::Cache,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<Tensor<Self>>;

    /// Returns an empty cache for `rows` rows. If `kept` is set, [`attention`](Self::attention) may forget the keys and
    /// values of a row that are further than this many tokens before its new ones: none of its later calls needs them. See
    /// [`CacheRoom`](crate::CacheRoom).
    fn cache(&self, rows: usize, kept: Option<usize>, spec: &AttentionSpec) -> Self::Cache;

    /// Returns the number of tokens that a row of a cache has memory for.
    fn capacity(&self, cache: &Self::Cache, row: usize) -> usize;

    /// Replaces row `i` of a cache by its old row `rows[i]`. `lengths` is the number of tokens in each old row; later
    /// entries of the cache need not be kept.
    fn select(&self, cache: &mut Self::Cache, rows: &[usize], lengths: &[usize]) -> Result<()>;

    /// Whether [`share_tokens`](Self::share_tokens) is implemented; `false` by default. If it is, rows of a batch that begin alike wait until
    /// the first of them has read their beginning, and then share it.
    fn shares_tokens(&self) -> bool {
        false
    }

    /// Gives row `to` of a cache the keys and values that row `from` has for these tokens, by copying or by sharing memory. The texts of both
    /// rows are the same up to the end of the range. Row `from` holds all of its tokens up to there, and row `to` all those before the
    /// range; later ones are dropped. Returns `false` if that was not done: the caller then computes them. This is the default.
    fn share_tokens(
        &self,
        cache: &mut Self::Cache,
        from: usize,
        to: usize,
        tokens: Range<usize>,
    ) -> Result<bool> {
        let _ = (cache, from, to, tokens);
        Ok(false)
    }

    /// Returns the elementwise sum.
    fn add(&self, a: &Tensor<Self>, b: &Tensor<Self>) -> Result<Tensor<Self>>;

    /// Returns `x` multiplied by a number.
    fn scale(&self, x: &Tensor<Self>, factor: f32) -> Result<Tensor<Self>>;

    /// Returns `x` with row `i` multiplied by `factors[i]`.
    fn scale_rows(&self, x: &Tensor<Self>, factors: &[f32]) -> Result<Tensor<Self>>;

    /// Returns `x` with column `i` multiplied by entry `i` of `factors`, a loaded vector.
    fn scale_columns(&self, x: &Tensor<Self>, factors: &Tensor<Self>) -> Result<Tensor<Self>>;

    /// Returns `cap·tanh(x / cap)`, elementwise.
    fn softcap(&self, x: &Tensor<Self>, cap: f32) -> Result<Tensor<Self>>;

    /// Applies an activation function, elementwise.
    fn activate(&self, x: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>>;

    /// Returns `activation(gate) · up`, elementwise (Shazeer 2020, arXiv 2002.05202). With
    /// [`Activation::ClampedSwish`], it is `activation(gate) · (clamp(up, −limit, limit) + 1)`.
    fn gated(&self, gate: &Tensor<Self>, up: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>>;

    /// Returns a range of the columns.
    fn columns(&self, x: &Tensor<Self>, columns: std::ops::Range<usize>) -> Result<Tensor<Self>>;

    /// Returns the rows of the given indices, in the given order.
    fn rows(&self, x: &Tensor<Self>, rows: &[usize]) -> Result<Tensor<Self>>;

    /// Returns `x` with row `i` of `added` added to its row `rows[i]`. The indices are distinct.
    fn add_rows(&self, x: &Tensor<Self>, rows: &[usize], added: &Tensor<Self>) -> Result<Tensor<Self>>;
}

/// What [attention](Nn::attention) reads, beside the cache.
///
/// ```
/// use eft_core::Host;
/// use eft_core::backend::Backend;
/// use eft_models::AttentionInput;
///
/// // One token with one head of two channels.
/// let x = Host.upload(&[1.0, 2.0], 2)?;
/// let input = AttentionInput { query: &x, key: &x, value: &x, sinks: None };
/// assert_eq!(Host.shape(input.query), (1, 2));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AttentionInput<'a, T> {
    /// The queries of the new tokens: tokens × (`heads` · `head_dim`).
    pub query: &'a T,
    /// Their keys: tokens × (`kv_heads` · `head_dim`).
    pub key: &'a T,
    /// Their values, in the shape of the keys.
    pub value: &'a T,
    /// The logit of each query head's sink, a loaded vector: see [`AttentionSpec::sinks`].
    pub sinks: Option<&'a T>,
}

/// The new tokens of one row of the batch.
///
/// ```
/// use eft_models::Span;
///
/// // Row 2 of the batch has 10 tokens in the cache, and is fed 3: rows 5, 6 and 7 of the activations.
/// let span = Span { row: 2, past: 10, tokens: 5..8 };
/// assert_eq!(span.past + span.tokens.len(), 13);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The row of the batch.
    pub row: usize,
    /// The number of tokens that the cache holds of the row.
    pub past: usize,
    /// The rows of the activations that are the new tokens.
    pub tokens: std::ops::Range<usize>,
}
