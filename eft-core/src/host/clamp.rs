//! Clamping finite scores.
use super::parallel::fill;
use super::tensor::{Host, HostTensor, RowView};
use super::vector::vectorized;
use crate::Result;
use crate::backend::{ScoreRow, check_bounds, check_rows};

pub(super) fn clamp(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    low: f32,
    high: f32,
    width: usize,
) -> Result<HostTensor> {
    check_rows(host, "clamp", rows, width)?;
    check_bounds(low, high)?;
    let rows = RowView::of_all(rows, width);
    let scores = fill(rows.len(), width, |row, columns, out| {
        let mut buffer = Vec::new();
        let scores = rows[row].read(columns, &mut buffer);
        vectorized(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(scores) {
                    *out = if x.is_finite() { x.clamp(low, high) } else { *x };
                }
            },
        );
    });
    HostTensor::from_rows(scores, width)
}
