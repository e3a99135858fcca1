//! [`TorchNn`]: the operations of a decoder's forward pass on libtorch's tensors.
//!
//! | file | content |
//! | --- | --- |
//! | `linear.rs` | linear layers and embeddings |
//! | `packed.rs` | weights in oneDNN's layout, for processors |
//! | `rope.rs` | rotary position embedding |
//! | `attention.rs`, `cache.rs` | attention over the KV cache |
//!
//! ```
//! use eft_backend_tch::{Torch, TorchNn};
//! use eft_core::{Sampling, Source};
//! use eft_models::{Checkpoint, DecoderEngine};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../eft-models/goldens/qwen3"))?;
//! let model = Source::new(DecoderEngine::load(TorchNn::new(Torch::cpu()), &checkpoint, None)?);
//! assert_eq!(model.generate([1, 5, 9], Sampling::greedy())?.take(4).count(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod attention;
mod cache;
mod linear;
mod packed;
mod rope;

pub use cache::LayerCache;
pub use linear::Linear;

use eft_core::{Backend, Error, Result, TokenId};
use eft_models::spec::{Activation, AttentionSpec};
use eft_models::{AttentionInput, Dtype, Nn, RawTensor, Span};
use tch::{Kind, TchError, Tensor, no_grad_guard};

use crate::backend::integers;
use crate::{Torch, to_error};

/// Runs decoders on one device, in one floating-point type.
///
/// ```
/// use eft_backend_tch::{Kind, Torch, TorchNn, load};
/// use eft_core::Sampling;
///
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../eft-models/goldens/llama");
/// let model = load(folder, &TorchNn::new(Torch::cpu()).kind(Kind::BFloat16), None)?;
/// assert_eq!(model.generate([1, 5, 9], Sampling::greedy())?.take(4).count(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TorchNn {
    backend: Torch,
    kind: Kind,
}

impl TorchNn {
    /// Creates the operations for computing in `f32`.
    pub fn new(backend: Torch) -> Self {
        Self { backend, kind: Kind::Float }
    }

    /// Sets the floating-point type: `Kind::Float`, `Kind::BFloat16` or `Kind::Half`.
    #[must_use]
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    fn raw(&self, raw: &RawTensor<'_>) -> Result<Tensor> {
        let kind = match raw.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::Quantised(blocks) => {
                let what = format!(
                    "the quantised blocks ({blocks:?}) of `{}`; they must be dequantised first",
                    raw.name
                );
                return Err(Error::Unsupported { who: "tch".into(), what });
            }
        };
        let shape: Vec<_> = raw.shape.iter().map(|size| *size as i64).collect();
        let tensor = Tensor::f_from_data_size(&raw.bytes, &shape, kind);
        tensor.and_then(|tensor| tensor.f_to(self.backend.device())?.f_totype(self.kind)).map_err(to_error)
    }

    fn index(&self, rows: &[usize]) -> std::result::Result<Tensor, TchError> {
        integers(rows.iter().copied(), self.backend.device())
    }
}

/// Applies a norm to each head of a row, or to the whole row if the weight is as wide.
fn by_heads(
    x: &Tensor,
    weight: &Tensor,
    f: impl Fn(&Tensor) -> std::result::Result<Tensor, TchError>,
) -> Result<Tensor> {
    let normed = || {
        let (width, whole) = (weight.size1()?, x.size2()?);
        if whole.1 == width { f(x) } else { f(&x.f_reshape([-1, width])?)?.f_view([whole.0, whole.1]) }
    };
    normed().map_err(to_error)
}

/// `g·sigmoid(alpha·g)` with `g = min(x, limit)`.
fn clamped_swish(x: &Tensor, alpha: f32, limit: f32) -> std::result::Result<Tensor, TchError> {
    let gate = x.f_clamp_max(f64::from(limit))?;
    gate.f_mul_scalar(f64::from(alpha))?.f_sigmoid_()?.f_mul_(&gate)
}

impl Nn for TorchNn {
    type Backend = Torch;
    type Linear = Linear;
    type Cache = LayerCache;

    fn backend(&self) -> &Torch {
        &self.backend
    }

    fn load(&self, raw: &RawTensor<'_>, plus: f32) -> Result<Tensor> {
        let tensor = self.raw(raw)?;
        if plus == 0.0 { Ok(tensor) } else { tensor.f_add_scalar(f64::from(plus)).map_err(to_error) }
    }

    fn load_linear(
        &self,
        weight: &RawTensor<'_>,
        transposed: bool,
        bias: Option<&RawTensor<'_>>,
    ) -> Result<Linear> {
        let bias = bias.map(|bias| self.raw(bias)).transpose()?;
        let weight = self.raw(weight)?;
        let weight =
            if transposed { weight.f_tr().and_then(|t| t.f_contiguous()).map_err(to_error)? } else { weight };
        Ok(Linear::new(weight, bias))
    }

    fn load_embedding(&self, weight: &RawTensor<'_>) -> Result<Linear> {
        Ok(Linear::embedding(self.raw(weight)?))
    }

    fn tied(&self, embedding: &Linear) -> Linear {
        embedding.tied()
    }

    fn share(&self, linear: &Linear) -> Linear {
        linear.shallow_clone()
    }

    fn pass<T: Send>(&self, _products: usize, forward: impl FnOnce() -> T + Send) -> T {
        let _guard = no_grad_guard();
        forward()
    }

    fn embed(&self, embedding: &Linear, ids: &[TokenId]) -> Result<Tensor> {
        let ids = integers(ids.iter().map(|id| *id as usize), self.backend.device());
        ids.and_then(|ids| embedding.look_up(&ids)).map_err(to_error)
    }

    fn linear(&self, x: &Tensor, linear: &Linear) -> Result<Tensor> {
        linear.forward(x).map_err(to_error)
    }

    fn linears(&self, x: &Tensor, linears: &[&Linear]) -> Result<Vec<Tensor>> {
        linear::forward_all(x, linears).map_err(to_error)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
        by_heads(x, weight, |x| x.f_rms_norm(weight.size(), Some(weight), epsilon))
    }

    fn layer_norm(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
        by_heads(x, weight, |x| x.f_layer_norm(weight.size(), Some(weight), Some(bias), epsilon, true))
    }

    fn constant(&self, values: &[f32], width: usize) -> Result<Tensor> {
        let tensor = self.backend.upload(values, width)?;
        tensor.f_totype(self.kind).map_err(to_error)
    }

    fn rope(&self, x: &Tensor, head_dim: usize, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        rope::rope(x, head_dim as i64, cos, sin).map_err(to_error)
    }

    fn attention(
        &self,
        input: AttentionInput<'_, Tensor>,
        cache: &mut LayerCache,
        spans: &[Span],
        spec: &AttentionSpec,
    ) -> Result<Tensor> {
        attention::attend(input, cache, spans, spec).map_err(to_error)
    }

    fn cache(&self, rows: usize, kept: Option<usize>, _: &AttentionSpec) -> LayerCache {
        LayerCache::new(rows, kept)
    }

    fn capacity(&self, cache: &LayerCache, row: usize) -> usize {
        cache.capacity(row)
    }

    fn select(&self, cache: &mut LayerCache, rows: &[usize], lengths: &[usize]) -> Result<()> {
        cache.select(rows, lengths).map_err(to_error)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.f_add(b).map_err(to_error)
    }

    fn scale(&self, x: &Tensor, factor: f32) -> Result<Tensor> {
        x.f_mul_scalar(f64::from(factor)).map_err(to_error)
    }

    fn scale_rows(&self, x: &Tensor, factors: &[f32]) -> Result<Tensor> {
        x.f_mul(&self.constant(factors, 1)?).map_err(to_error)
    }

    fn scale_columns(&self, x: &Tensor, factors: &Tensor) -> Result<Tensor> {
        x.f_mul(factors).map_err(to_error)
    }

    fn softcap(&self, x: &Tensor, cap: f32) -> Result<Tensor> {
        attention::softcap(x, cap).map_err(to_error)
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let activated = match activation {
            Activation::Silu => x.f_silu(),
            Activation::Gelu => x.f_gelu("none"),
            Activation::GeluTanh => x.f_gelu("tanh"),
            Activation::Relu => x.f_relu(),
            Activation::ClampedSwish { alpha, limit } => clamped_swish(x, alpha, limit),
        };
        activated.map_err(to_error)
    }

    fn gated(&self, gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
        let mut activated = self.activate(gate, activation)?;
        let gated = match activation {
            Activation::ClampedSwish { limit, .. } => {
                let limit = f64::from(limit);
                up.f_clamp(-limit, limit)
                    .and_then(|up| up.f_add_scalar(1.0))
                    .and_then(|up| activated.f_mul_(&up))
            }
            _ => activated.f_mul_(up),
        };
        gated.map_err(to_error)
    }

    fn columns(&self, x: &Tensor, columns: std::ops::Range<usize>) -> Result<Tensor> {
        x.f_narrow(1, columns.start as i64, columns.len() as i64).map_err(to_error)
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        self.index(rows).and_then(|index| x.f_index_select(0, &index)).map_err(to_error)
    }

    fn add_rows(&self, x: &Tensor, rows: &[usize], added: &Tensor) -> Result<Tensor> {
        self.index(rows).and_then(|index| x.f_index_add(0, &index, added)).map_err(to_error)
    }
}
