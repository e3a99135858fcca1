use tch::{Device, Kind, TchError, Tensor};

/// Rows of activations up to which weights are multiplied from the left on a processor: libtorch's library for products
/// takes one and a half to three times as long for `x·Wᵀ` as for `W·xᵀ`.
const FROM_LEFT: i64 = 64;

/// Rows from which on half precision is widened, on a processor without instructions for it: libtorch then multiplies
/// row by row.
const WIDENED: i64 = 16;

/// Outputs whose weights are widened at once, so that they are multiplied where they are: in the cache.
const AT_ONCE: i64 = 1024;

/// A matrix with a row for each output, perhaps with a bias.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.as_ref().map(Tensor::shallow_clone) }
    }

    /// `x·Wᵀ + b`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let rows = x.size2()?.0;
        let half = || Ok::<_, TchError>(matches!(x.f_kind()?, Kind::BFloat16 | Kind::Half));
        let out = if x.device() != Device::Cpu {
            None
        } else if half()? {
            if rows >= WIDENED && lacks_half() { Some(self.widened(x)?) } else { None }
        } else if rows <= FROM_LEFT {
            Some(from_left(&self.weight, x)?)
        } else {
            None
        };
        match (out, &self.bias) {
            (None, bias) => x.f_linear(&self.weight, bias.as_ref()),
            (Some(out), None) => Ok(out),
            (Some(mut out), Some(bias)) => out.f_add_(bias),
        }
    }

    /// In single precision, some outputs at a time.
    fn widened(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (kind, outputs) = (x.f_kind()?, self.weight.size2()?.0);
        let x = x.f_totype(Kind::Float)?;
        let part = |start: i64| {
            let weight = self.weight.f_narrow(0, start, AT_ONCE.min(outputs - start))?;
            from_left(&weight.f_totype(Kind::Float)?, &x)?.f_totype(kind)
        };
        let parts = (0..outputs).step_by(AT_ONCE as usize).map(part).collect::<Result<Vec<_>, _>>()?;
        Tensor::f_cat(&parts, 1)
    }
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
