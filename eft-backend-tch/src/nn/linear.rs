use tch::{Device, Kind, TchError, Tensor};

use super::packed::Packed;

/// Rows of activations up to which weights in single precision that are not packed are multiplied from the left on a
/// processor: libtorch takes one and a half to three times as long for `x·Wᵀ` as for `W·xᵀ`.
const FROM_LEFT: i64 = 64;

/// Rows from which on half precision is widened, on a processor without instructions for it: libtorch then multiplies
/// row by row.
const WIDENED: i64 = 16;

/// Outputs whose weights are widened at once, so that they are multiplied where they are: in the cache.
const AT_ONCE: i64 = 1024;

/// A matrix with a row for each output, perhaps with a bias.
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
    /// To be multiplied with.
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        let weight = Packed::new(&weight).map_or(Weight::Plain(weight), Weight::Packed);
        Self { weight, bias }
    }

    /// To be looked up in, and multiplied with if need be.
    pub(super) fn embedding(weight: Tensor) -> Self {
        Self { weight: Weight::Plain(weight), bias: None }
    }

    /// Some rows of an embedding.
    pub(super) fn look_up(&self, ids: &Tensor) -> Result<Tensor, TchError> {
        match &self.weight {
            Weight::Plain(weight) => weight.f_index_select(0, ids),
            Weight::Packed(_) => Err(TchError::Torch("looked up in what is no embedding".into())),
        }
    }

    /// The same weights to be multiplied with: a copy of an embedding's, if that makes it faster.
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

/// The same of several layers.
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

/// `x·Wᵀ` in a way that is faster on a processor than libtorch's own, if there is one.
fn faster(weight: &Tensor, x: &Tensor) -> Result<Option<Tensor>, TchError> {
    if x.device() != Device::Cpu {
        return Ok(None);
    }
    let (rows, kind) = (x.size2()?.0, x.f_kind()?);
    match kind {
        Kind::Float if rows <= FROM_LEFT => from_left(weight, x).map(Some),
        Kind::BFloat16 | Kind::Half if rows >= WIDENED && lacks_half() => widened(weight, x).map(Some),
        _ => Ok(None),
    }
}

/// In single precision, some outputs at a time.
fn widened(weight: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
    let (kind, outputs) = (x.f_kind()?, weight.size2()?.0);
    let x = x.f_totype(Kind::Float)?;
    let part = |start: i64| {
        let weight = weight.f_narrow(0, start, AT_ONCE.min(outputs - start))?;
        from_left(&weight.f_totype(Kind::Float)?, &x)?.f_totype(kind)
    };
    let parts = (0..outputs).step_by(AT_ONCE as usize).map(part).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&parts, 1)
}

/// `(W·xᵀ)ᵀ`. One row is multiplied as two, which takes less time than libtorch's product with a vector.
fn from_left(weight: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
    let (rows, columns) = x.size2()?;
    let doubled = if rows == 1 { Some(x.f_expand([2, columns], false)?.f_contiguous()?) } else { None };
    let out = weight.f_mm(&doubled.as_ref().unwrap_or(x).f_tr()?)?.f_tr()?;
    out.f_narrow(0, 0, rows)?.f_contiguous()
}

/// Whether libtorch has no fast products of half precision here.
fn lacks_half() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !std::is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
