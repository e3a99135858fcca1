//! [`FaultyNn`]: a tensor library that fails at a chosen operation.
use std::ops::Range;

use eft_core::conformance::{FaultInjector, FaultyBackend};
use eft_core::{Result, TokenId};

use crate::nn::{AttentionInput, Tensor};
use crate::spec::{Activation, AttentionSpec};
use crate::{Nn, RawTensor, Span};

/// An [`Nn`] around another, each of whose operations is a step of a [`FaultInjector`], and so is each operation of its
/// backend.
///
/// ```
/// use eft_core::conformance::FaultInjector;
/// use eft_core::{Sampling, Source};
/// use eft_models::conformance::{FaultyNn, ReferenceNn};
/// use eft_models::{Checkpoint, DecoderEngine};
///
/// let injector = FaultInjector::new();
/// let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/qwen2"))?;
/// let engine = DecoderEngine::load(FaultyNn::new(ReferenceNn, &injector), &checkpoint, None)?;
/// let model = Source::new(engine);
///
/// injector.fail_after(7);
/// assert!(model.generate([1, 5, 9], Sampling::greedy()).is_err());
/// assert!(model.generate([1, 5, 9], Sampling::greedy()).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FaultyNn<N: Nn> {
    inner: N,
    backend: FaultyBackend<N::Backend>,
    injector: FaultInjector,
}

impl<N: Nn> FaultyNn<N> {
    /// Wraps a tensor library.
    #[must_use]
    pub fn new(inner: N, injector: &FaultInjector) -> Self {
        let backend = FaultyBackend::new(inner.backend().clone(), injector);
        Self { inner, backend, injector: injector.clone() }
    }
}

impl<N: Nn> Nn for FaultyNn<N> {
    type Backend = FaultyBackend<N::Backend>;
    type Linear = N::Linear;
    type Cache = N::Cache;

    fn backend(&self) -> &Self::Backend {
        &self.backend
    }

    fn takes_blocks(&self) -> bool {
        self.inner.takes_blocks()
    }

    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.load(raw, plus)
    }

    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear> {
        self.injector.step()?;
        self.inner.load_linear(weight, transposed, bias)
    }

    fn load_exact(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Self::Linear> {
        self.injector.step()?;
        self.inner.load_exact(weight, transposed, bias)
    }

    fn load_embedding(&self, weight: &RawTensor<'_>) -> Result<Self::Linear> {
        self.injector.step()?;
        self.inner.load_embedding(weight)
    }

    fn tied(&self, embedding: &Self::Linear) -> Self::Linear {
        self.inner.tied(embedding)
    }

    fn share(&self, linear: &Self::Linear) -> Self::Linear {
        self.inner.share(linear)
    }

    fn pass<T: Send>(&self, products: usize, forward: impl FnOnce() -> T + Send) -> T {
        self.inner.pass(products, forward)
    }

    fn embed(&self, embedding: &Self::Linear, ids: &[TokenId]) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.embed(embedding, ids)
    }

    fn linear(&self, x: &Tensor<Self>, linear: &Self::Linear) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.linear(x, linear)
    }

    fn linears(&self, x: &Tensor<Self>, linears: &[&Self::Linear]) -> Result<Vec<Tensor<Self>>> {
        self.injector.step()?;
        self.inner.linears(x, linears)
    }

    fn rms_norm(&self, x: &Tensor<Self>, weight: &Tensor<Self>, epsilon: f64) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.rms_norm(x, weight, epsilon)
    }

    fn layer_norm(
        &self,
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: &Tensor<Self>,
        epsilon: f64,
    ) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.layer_norm(x, weight, bias, epsilon)
    }

    fn constant(&self, values: &[f32], width: usize) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.constant(values, width)
    }

    fn rope(
        &self,
        x: &Tensor<Self>,
        head_dim: usize,
        cos: &Tensor<Self>,
        sin: &Tensor<Self>,
    ) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.rope(x, head_dim, cos, sin)
    }

    fn attention(
        &self,
        input: AttentionInput<'_, Tensor<Self>>,
        cache: &mut Self::Cache,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<Tensor<Self>> {
        self.injector.step()?;
        let attended = self.inner.attention(input, cache, spans, spec)?;
        // It may also fail after the cache has been written.
        self.injector.step()?;
        Ok(attended)
    }

    fn cache(&self, rows: usize, kept: Option<usize>, spec: &AttentionSpec) -> Self::Cache {
        self.inner.cache(rows, kept, spec)
    }

    fn capacity(&self, cache: &Self::Cache, row: usize) -> usize {
        self.inner.capacity(cache, row)
    }

    fn select(&self, cache: &mut Self::Cache, rows: &[usize], lengths: &[usize]) -> Result<()> {
        self.injector.step()?;
        self.inner.select(cache, rows, lengths)?;
        self.injector.step()
    }

    fn shares_tokens(&self) -> bool {
        self.inner.shares_tokens()
    }

    fn share_tokens(
        &self,
        cache: &mut Self::Cache,
        from: usize,
        to: usize,
        tokens: Range<usize>,
    ) -> Result<bool> {
        self.injector.step()?;
        let shared = self.inner.share_tokens(cache, from, to, tokens)?;
        self.injector.step()?;
        Ok(shared)
    }

    fn add(&self, a: &Tensor<Self>, b: &Tensor<Self>) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.add(a, b)
    }

    fn scale(&self, x: &Tensor<Self>, factor: f32) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.scale(x, factor)
    }

    fn scale_rows(&self, x: &Tensor<Self>, factors: &[f32]) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.scale_rows(x, factors)
    }

    fn scale_columns(&self, x: &Tensor<Self>, factors: &Tensor<Self>) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.scale_columns(x, factors)
    }

    fn softcap(&self, x: &Tensor<Self>, cap: f32) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.softcap(x, cap)
    }

    fn activate(&self, x: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.activate(x, activation)
    }

    fn gated(&self, gate: &Tensor<Self>, up: &Tensor<Self>, activation: Activation) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.gated(gate, up, activation)
    }

    fn columns(&self, x: &Tensor<Self>, columns: Range<usize>) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.columns(x, columns)
    }

    fn rows(&self, x: &Tensor<Self>, rows: &[usize]) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.rows(x, rows)
    }

    fn add_rows(&self, x: &Tensor<Self>, rows: &[usize], added: &Tensor<Self>) -> Result<Tensor<Self>> {
        self.injector.step()?;
        self.inner.add_rows(x, rows, added)
    }
}
