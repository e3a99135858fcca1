//! Score rows composed of two others.
use super::parallel::fill;
use super::tensor::{Host, HostTensor, RowView};
use crate::Result;
use crate::backend::{ScoreRow, check_choice};

pub(super) fn choose(
    host: &Host,
    kept: &[ScoreRow<'_, Host>],
    inside: &[ScoreRow<'_, Host>],
    outside: Option<&[ScoreRow<'_, Host>]>,
    width: usize,
) -> Result<HostTensor> {
    check_choice(host, kept, inside, outside, width)?;
    let kept = RowView::of_all(kept, width);
    let inside = RowView::of_all(inside, width);
    let outside = outside.map(|rows| RowView::of_all(rows, width));
    let scores = fill(kept.len(), width, |row, columns, out| {
        match &outside {
            Some(outside) => out.copy_from_slice(outside[row].read(columns.clone(), &mut Vec::new())),
            None => out.fill(f32::NEG_INFINITY),
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let kept = kept[row].read(columns.clone(), &mut first);
        let inside = inside[row].read(columns, &mut second);
        for ((out, kept), inside) in out.iter_mut().zip(kept).zip(inside) {
            let chosen = if *kept > f32::NEG_INFINITY { *inside } else { *out };
            *out = if kept.is_nan() { f32::NAN } else { chosen };
        }
    });
    HostTensor::from_rows(scores, width)
}
