//! [`CandleNn`]: the operations of a decoder's forward pass, on candle tensors.
//!
//! ```
//! use eft_backend_candle::{Candle, CandleNn};
//! use eft_core::{Sampling, Source};
//! use eft_models::{Checkpoint, DecoderEngine};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../eft-models/goldens/qwen3"))?;
//! let model = Source::new(DecoderEngine::load(CandleNn::new(Candle::cpu()), &checkpoint, None)?);
//! assert_eq!(model.generate([1, 5, 9], Sampling::greedy())?.take(4).count(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod attention;
mod cache;
mod host;
mod linear;
mod loading;
pub(crate) mod quantised;
mod weight_type;

pub use cache::LayerCache;
pub use linear::Linear;
pub use weight_type::WeightType;

use std::ops::Range;

use candle_core::{DType, Tensor};
use candle_nn::ops;
use candle_nn::rotary_emb;
use eft_core::{Result, TokenId};
use eft_cpu::{Matrix, ops::CacheType};
use eft_models::spec::{Activation, AttentionSpec};
use eft_models::{AttentionInput, Nn, RawTensor, Span};

use crate::{Candle, to_error};

/// Implements [`Nn`] with candle: decoders that compute in one type on one device.
///
/// ```
/// use candle_core::Tensor;
/// use eft_backend_candle::{Candle, CandleNn, Device};
/// use eft_models::Nn;
///
/// let nn = CandleNn::new(Candle::cpu());
/// let x = Tensor::new(&[[3.0f32, 4.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[1.0f32, 2.0], &Device::Cpu)?;
/// // The root mean square of 3 and 4 is √12.5.
/// let normed = nn.rms_norm(&x, &weight, 0.0)?.to_vec2::<f32>()?;
/// assert!((normed[0][1] - 2.0 * 4.0 / 12.5f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CandleNn {
    backend: Candle,
    dtype: DType,
    cache_type: CacheType,
    weight_type: WeightType,
}

impl CandleNn {
    /// Computes in f32, the only type that is fast on a CPU: candle converts other types at each product.
    pub fn new(backend: Candle) -> Self {
        Self { backend, dtype: DType::F32, cache_type: CacheType::F32, weight_type: WeightType::Stored }
    }

    /// Computes in another type, such as f16 or bf16 on a GPU.
    #[must_use]
    pub fn dtype(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// Keeps keys and values in another type than the one it computes in. It makes decoding after a long context faster and
    /// takes less memory, and rounds: see [`CacheType`].
    ///
    /// With [`CacheType::F32`], the default, they stay as they were computed, also where that is f16 or bf16.
    /// [`CacheType::F16`] works everywhere, [`CacheType::Q8_0`] on the processor and with f32 only: loading a model fails
    /// otherwise.
    ///
    /// ```
    /// use eft_backend_candle::{CacheType, Candle, CandleNn};
    ///
    /// let nn = CandleNn::new(Candle::cpu()).cache_type(CacheType::F16);
    /// ```
    #[must_use]
    pub fn cache_type(self, cache_type: CacheType) -> Self {
        Self { cache_type, ..self }
    }

    /// Quantises weights while models are loaded, whatever the type that their files store: for files of 16 or 32 bits, a token then
    /// takes less time and memory. With the default, [`WeightType::Stored`], they stay as they are.
    ///
    /// Matrices stay as they are, embeddings too, if they have at most 128 outputs, if the lengths of their rows are not multiples of
    /// 32, or if they are at least as small already; so do low-rank adapters, learned positions, norms and biases.
    ///
    /// On a CPU this needs numbers in f32, the default of [`dtype`](Self::dtype): with another type, the quantised weights are
    /// dequantised again. To quantise takes two threads some seconds for each billion weights.
    ///
    /// A model that is loaded by name gets these settings from `eft::Loader::load_on`. In [speculative decoding](eft_core::speculate), a
    /// copy of the tuned model with fewer bits drafts faster than the term itself, and the texts stay those of the combination:
    ///
    /// ```
    /// use eft_backend_candle::{Candle, CandleNn, WeightType};
    /// use eft_core::{Sampling, Source, Vocab};
    /// use eft_models::{Checkpoint, DecoderEngine};
    /// use std::sync::Arc;
    ///
    /// let vocab = Arc::new(Vocab::anonymous("of the zoo", 1000)?);
    /// let nn = CandleNn::new(Candle::cpu());
    /// let load = |nn: &CandleNn, name: &str| -> Result<_, eft_models::Error> {
    ///     let checkpoint = Checkpoint::open(format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR")))?;
    ///     Ok(Source::new(DecoderEngine::load(nn.clone(), &checkpoint, Some(vocab.clone()))?))
    /// };
    /// let (large, tuned, small) = (load(&nn, "base-large")?, load(&nn, "tuned-small")?, load(&nn, "base-small")?);
    /// let draft = load(&nn.clone().weight_type(WeightType::Q4_0), "tuned-small")?;
    ///
    /// let upscaled = &large + (&tuned - &small);
    /// let text = upscaled.speculate().draft(&draft).generate([300, 17, 512], Sampling::greedy())?.take(8);
    /// assert_eq!(text.count(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn weight_type(self, weight_type: WeightType) -> Self {
        Self { weight_type, ..self }
    }

    /// Refuses a type of the KV cache that only the operations of `eft_cpu` have.
    fn check_cache_type(&self) -> candle_core::Result<()> {
        if self.cache_type == CacheType::Q8_0 && !self.uses_host() {
            candle_core::bail!("a KV cache in q8_0 needs the processor as the device, and numbers in f32")
        }
        Ok(())
    }

    fn index(&self, rows: &[usize]) -> candle_core::Result<Tensor> {
        let rows: Vec<_> = rows.iter().map(|row| *row as u32).collect();
        let count = rows.len();
        Tensor::from_vec(rows, count, self.backend.device())
    }

    /// Whether the operations of `eft_cpu` do the work.
    fn uses_host(&self) -> bool {
        self.backend.uses_host() && self.dtype == DType::F32 && eft_cpu::is_supported()
    }
}

/// Applies `f` to `x` with each run of `width` columns as a row, and restores the shape.
fn by_runs(
    x: &Tensor,
    width: usize,
    f: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    if columns == width {
        return f(&x.contiguous()?);
    }
    f(&x.contiguous()?.reshape((rows * columns / width, width))?)?.reshape((rows, columns))
}

fn rope(x: &Tensor, head_dim: usize, cos: &Tensor, sin: &Tensor) -> candle_core::Result<Tensor> {
    let (tokens, columns) = x.dims2()?;
    let rotated = 2 * cos.dim(1)?;
    let heads = x.contiguous()?.reshape((1, tokens, columns / head_dim, head_dim))?;
    let rotate = |x: &Tensor| rotary_emb::rope_thd(&x.contiguous()?, cos, sin);
    let out = if rotated == head_dim {
        rotate(&heads)?
    } else {
        let rest = heads.narrow(3, rotated, head_dim - rotated)?;
        Tensor::cat(&[rotate(&heads.narrow(3, 0, rotated)?)?, rest], 3)?
    };
    out.reshape((tokens, columns))
}

/// Computes `g·sigmoid(alpha·g)` with `g = min(x, limit)`.
fn clamped_swish(x: &Tensor, alpha: f32, limit: f32) -> candle_core::Result<Tensor> {
    let gate = x.minimum(limit)?;
    &gate * ops::sigmoid(&gate.affine(alpha.into(), 0.0)?)?
}

impl Nn for CandleNn {
    type Backend = Candle;
    type Linear = Linear;
    type Cache = LayerCache;

    fn backend(&self) -> &Candle {
        &self.backend
    }

    fn takes_blocks(&self) -> bool {
        true
    }

    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<Tensor> {
        let checked = self.check_cache_type().and_then(|()| self.raw(raw));
        let tensor = checked.and_then(|t| if plus == 0.0 { Ok(t) } else { t.affine(1.0, plus.into()) });
        tensor.map_err(to_error)
    }

    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        self.linear_in_type(weight, transposed, bias).map_err(to_error)
    }

    fn load_exact(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        self.linear_as_stored(weight, transposed, bias).map_err(to_error)
    }

    fn load_paired(
        &self,
        weight: &RawTensor<'_>,
        head: usize,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        let quantised = self.weight_type.quantised(weight, false).map_err(to_error)?;
        let weight = quantised.as_ref().unwrap_or(weight);
        let unpaired = Matrix::new(weight).filter(|_| self.uses_host()).and_then(|m| m.unpaired(head));
        match unpaired {
            Some(weight) => {
                let bias = bias.map(|bias| self.raw(bias)).transpose();
                Ok(Linear::stored(weight, bias.map_err(to_error)?))
            }
            None => self.load_linear(&weight.unpaired(head), false, bias),
        }
    }

    fn share(&self, linear: &Linear) -> Linear {
        linear.clone()
    }

    fn pass<T: Send>(&self, products: usize, forward: impl FnOnce() -> T + Send) -> T {
        if self.uses_host() { host::pass(products, forward) } else { forward() }
    }

    fn embed(&self, embedding: &Linear, ids: &[TokenId]) -> Result<Tensor> {
        let rows = embedding.rows(ids, self.backend.device());
        rows.and_then(|rows| rows.to_dtype(self.dtype)).map_err(to_error)
    }

    fn linear(&self, x: &Tensor, linear: &Linear) -> Result<Tensor> {
        let out = match host::linears(x, &[linear]) {
            Some(outs) => outs.map(|mut outs| outs.remove(0)),
            None => linear.forward(x),
        };
        out.map_err(to_error)
    }

    fn linears(&self, x: &Tensor, linears: &[&Linear]) -> Result<Vec<Tensor>> {
        match host::linears(x, linears) {
            Some(outs) => outs.map_err(to_error),
            None => linears.iter().map(|linear| self.linear(x, linear)).collect(),
        }
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
        if self.uses_host() {
            return host::rms_norm(x, weight, epsilon).map_err(to_error);
        }
        let width = weight.elem_count();
        by_runs(x, width, |x| ops::rms_norm(x, weight, epsilon as f32)).map_err(to_error)
    }

    fn layer_norm(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
        let width = weight.elem_count();
        by_runs(x, width, |x| ops::layer_norm(x, weight, bias, epsilon as f32)).map_err(to_error)
    }

    fn constant(&self, values: &[f32], width: usize) -> Result<Tensor> {
        let shape = (values.len() / width, width);
        let tensor = Tensor::from_slice(values, shape, self.backend.device());
        tensor.and_then(|t| t.to_dtype(self.dtype)).map_err(to_error)
    }

    fn rope(&self, x: &Tensor, head_dim: usize, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let rotated =
            if self.uses_host() { host::rope(x, head_dim, cos, sin) } else { rope(x, head_dim, cos, sin) };
        rotated.map_err(to_error)
    }

    fn attention(
        &self,
        input: AttentionInput<'_, Tensor>,
        cache: &mut LayerCache,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<Tensor> {
        attention::attend(self.backend.constants(), input, cache, spans, spec).map_err(to_error)
    }

    fn cache(&self, rows: usize, kept: Option<usize>, _: &AttentionSpec) -> LayerCache {
        LayerCache::new(rows, kept, self.cache_type, self.uses_host())
    }

    fn capacity(&self, cache: &LayerCache, row: usize) -> usize {
        cache.capacity(row)
    }

    fn select(&self, cache: &mut LayerCache, rows: &[usize], lengths: &[usize]) -> Result<()> {
        cache.select(rows, lengths).map_err(to_error)
    }

    fn shares_tokens(&self) -> bool {
        self.uses_host()
    }

    fn share_tokens(
        &self,
        cache: &mut LayerCache,
        from: usize,
        to: usize,
        tokens: Range<usize>,
    ) -> Result<bool> {
        Ok(cache.take_tokens(from, to, tokens))
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        (a + b).map_err(to_error)
    }

    fn scale(&self, x: &Tensor, factor: f32) -> Result<Tensor> {
        x.affine(factor.into(), 0.0).map_err(to_error)
    }

    fn scale_rows(&self, x: &Tensor, factors: &[f32]) -> Result<Tensor> {
        let column = Tensor::from_slice(factors, (factors.len(), 1), self.backend.device());
        let scaled = column.and_then(|column| x.broadcast_mul(&column.to_dtype(self.dtype)?));
        scaled.map_err(to_error)
    }

    fn scale_columns(&self, x: &Tensor, factors: &Tensor) -> Result<Tensor> {
        x.broadcast_mul(factors).map_err(to_error)
    }

    fn softcap(&self, x: &Tensor, cap: f32) -> Result<Tensor> {
        attention::softcap(x, cap).map_err(to_error)
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let activated = match activation {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu_erf(),
            Activation::GeluTanh => x.gelu(),
            Activation::Relu => x.relu(),
            Activation::ClampedSwish { alpha, limit } => clamped_swish(x, alpha, limit),
        };
        activated.map_err(to_error)
    }

    fn gated(&self, gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
        if self.uses_host()
            && let Some(gated) = host::gated(gate, up, activation)
        {
            return gated.map_err(to_error);
        }
        let activated = self.activate(gate, activation)?;
        let gated = match activation {
            Activation::ClampedSwish { limit, .. } => {
                up.clamp(-limit, limit).and_then(|up| up.affine(1.0, 1.0)).and_then(|up| activated * up)
            }
            _ => activated * up,
        };
        gated.map_err(to_error)
    }

    fn columns(&self, x: &Tensor, columns: std::ops::Range<usize>) -> Result<Tensor> {
        let part = x.narrow(1, columns.start, columns.len()).and_then(|x| x.contiguous());
        part.map_err(to_error)
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        self.index(rows).and_then(|index| x.index_select(&index, 0)).map_err(to_error)
    }

    fn add_rows(&self, x: &Tensor, rows: &[usize], added: &Tensor) -> Result<Tensor> {
        self.index(rows).and_then(|index| x.index_add(&index, added, 0)).map_err(to_error)
    }
}
