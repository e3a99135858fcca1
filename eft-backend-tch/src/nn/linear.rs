//! Linear layers and embeddings.
use tch::{Device, Kind, TchError, Tensor};

use super::packed::Packed;

/// The largest number of rows for which unpacked `f32` weights are multiplied as `W·xᵀ` on a processor. libtorch takes
/// 1.5 to 3 times as long for `x·Wᵀ`.
const FROM_LEFT: i64 = 64;

/// The number of rows from which weights in half precision are widened to `f32`, on a processor without instructions
/// for half precision. libtorch multiplies row by row there.
const WIDEN_FROM: i64 = 16;

/// How many outputs' weights are widened at a time, so that they stay in the processor's cache until they are
/// multiplied.
const OUTPUTS_AT_A_TIME: i64 = 1024;

/// The weights of a linear layer, (outputs, inputs), with an optional bias; or those of an embedding.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug)]
enum Weight {
    Plain(Tensor),
    Packed(Packed),
}

impl Linear {
    /// The weights of a linear layer.
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        let weight = Packed::new(&weight).map_or(Weight::Plain(weight), Weight::Packed);
        Self { weight, bias }
    }

    /// The weights of an embedding, which stay as they are so that rows can be looked up.
    pub(super) fn embedding(weight: Tensor) -> Self {
        Self { weight: Weight::Plain(weight), bias: None }
    }

    /// The rows `ids` of an embedding.
    pub(super) fn look_up(&self, ids: &Tensor) -> Result<Tensor, TchError> {
        match &self.weight {
            Weight::Plain(weight) => weight.f_index_select(0, ids),
            Weight::Packed(_) => Err(TchError::Torch("rows can be looked up in an embedding only".into())),
        }
    }

    /// A linear layer with the weights of an embedding. They are copied if packed weights are faster.
    pub(super) fn tied(&self) -> Self {
        match &self.weight {
            Weight::Plain(weight) => Self::new(weight.shallow_clone(), None),
            Weight::Packed(_) => self.shallow_clone(),
        }
    }

    pub(super) fn shallow_clone(&self) -> Self {
        let weight = match &self.weight {
            Weight::Plain(weight) => Weight::Plain(weight.shallow_clone()),
            Weight::Packed(packed) => Weight::Packed(packed.shallow_clone()),
        };
        Self { weight, bias: self.bias.as_ref().map(Tensor::shallow_clone) }
    }

    /// `x·Wᵀ + b`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let bias = self.bias.as_ref();
        match &self.weight {
            Weight::Packed(packed) => packed.product(x, bias),
            Weight::Plain(weight) => match (faster(weight, x)?, bias) {
                (None, bias) => x.f_linear(weight, bias),
                (Some(out), None) => Ok(out),
                (Some(mut out), Some(bias)) => out.f_add_(bias),
            },
        }
    }
}

/// The products of several layers with the same input.
pub(super) fn forward_all(x: &Tensor, linears: &[&Linear]) -> Result<Vec<Tensor>, TchError> {
    let packed = linears.iter().map(|linear| match &linear.weight {
        Weight::Packed(packed) => Some(packed),
        Weight::Plain(_) => None,
    });
    match packed.collect::<Option<Vec<_>>>() {
        Some(weights) => {
            let biases: Vec<_> = linears.iter().map(|linear| linear.bias.as_ref()).collect();
            Packed::products(x, &weights, &biases)
        }
        None => linears.iter().map(|linear| linear.forward(x)).collect(),
    }
}

/// `x·Wᵀ` if there is a way to compute it faster than libtorch's, which is on processors only.
fn faster(weight: &Tensor, x: &Tensor) -> Result<Option<Tensor>, TchError> {
    if x.device() != Device::Cpu {
        return Ok(None);
    }
    let (rows, kind) = (x.size2()?.0, x.f_kind()?);
    match kind {
        Kind::Float if rows <= FROM_LEFT => from_left(weight, x).map(Some),
        Kind::BFloat16 | Kind::Half if rows >= WIDEN_FROM && lacks_half() => widened(weight, x).map(Some),
        _ => Ok(None),
    }
}

/// `x·Wᵀ` in `f32`, for weights in half precision.
fn widened(weight: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
    let (kind, outputs) = (x.f_kind()?, weight.size2()?.0);
    let x = x.f_totype(Kind::Float)?;
    let part = |start: i64| {
        let weight = weight.f_narrow(0, start, OUTPUTS_AT_A_TIME.min(outputs - start))?;
        from_left(&weight.f_totype(Kind::Float)?, &x)?.f_totype(kind)
    };
    let parts = (0..outputs).step_by(OUTPUTS_AT_A_TIME as usize).map(part).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&parts, 1)
}

/// `(W·xᵀ)ᵀ`. A single row is doubled, since libtorch's product with a vector takes longer than that with two rows.
fn from_left(weight: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
    let (rows, columns) = x.size2()?;
    let doubled = if rows == 1 { Some(x.f_expand([2, columns], false)?.f_contiguous()?) } else { None };
    let out = weight.f_mm(&doubled.as_ref().unwrap_or(x).f_tr()?)?.f_tr()?;
    out.f_narrow(0, 0, rows)?.f_contiguous()
}

/// Whether libtorch has no fast products in half precision on this processor.
fn lacks_half() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !std::is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
