//! Rotary position embedding.
use tch::{TchError, Tensor};

/// Rotates the first `2·width(cos)` channels of each head: channel `i` with channel `i + width(cos)`.
pub(super) fn rope(x: &Tensor, head_dim: i64, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let (tokens, columns) = x.size2()?;
    let half = cos.size2()?.1;
    let heads = x.f_reshape([tokens, columns / head_dim, head_dim])?;
    let (cos, sin) = (cos.f_unsqueeze(1)?, sin.f_unsqueeze(1)?);
    let (first, second) = (heads.f_narrow(2, 0, half)?, heads.f_narrow(2, half, half)?);
    let rotated =
        [first.f_mul(&cos)?.f_sub_(&second.f_mul(&sin)?)?, second.f_mul(&cos)?.f_add_(&first.f_mul(&sin)?)?];
    let out = if 2 * half == head_dim {
        Tensor::f_cat(&rotated, 2)?
    } else {
        let [first, second] = rotated;
        Tensor::f_cat(&[first, second, heads.f_narrow(2, 2 * half, head_dim - 2 * half)?], 2)?
    };
    out.f_view([tokens, columns])
}
