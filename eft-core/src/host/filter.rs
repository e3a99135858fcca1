//! Temperature, top-k, top-p and min-p: scales each row, finds its cutoff, and excludes the tokens after the cutoff.
use super::nucleus::{Cutoff, cutoffs};
use super::parallel::{by_row, create, update_chunks};
use super::summary::{Mass, Summary};
use super::tensor::{Host, HostTensor, RowView};
use super::vector::vectorized;
use crate::Result;
use crate::backend::{Filter, ScoreRow, check_rows};

pub(super) fn filter(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    filter: &Filter,
    width: usize,
) -> Result<HostTensor> {
    check_rows(host, "filter", rows, width)?;
    filter.validate()?;
    let rows = RowView::of_all(rows, width);
    let scale_all = |shifts: Option<Vec<f32>>| {
        create(rows.len(), width, |row, columns, out| {
            let shift = shifts.as_ref().map_or(0.0, |shifts| shifts[row]);
            scale(rows[row].read(columns, &mut Vec::new()), shift, filter, out)
        })
    };
    let (mut scores, mut summaries) = scale_all(None);
    if by_row(&summaries, width).any(|row| !Mass::of(row).is_sound()) {
        (scores, summaries) = scale_all(Some(shifts(&rows, &summaries, width)));
    }
    if filter.truncates() {
        let scaled: Vec<_> = scores.chunks(width.max(1)).map(|row| RowView::F32(row.into())).collect();
        let cutoffs = cutoffs(&scaled, &summaries, filter, width);
        update_chunks(&mut scores, width, |row, columns, out| exclude(out, columns.start, cutoffs[row]));
    }
    HostTensor::from_rows(scores, width)
}

/// Computes `out = (scores − shift) / temperature`.
fn scale(scores: &[f32], shift: f32, filter: &Filter, out: &mut [f32]) -> Summary {
    let temperature = filter.temperature;
    vectorized(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(scores) {
                *out = (x - shift) / temperature;
            }
        },
    );
    if sums(filter) { Summary::of(out) } else { Summary::extremes(out) }
}

/// Returns whether the cutoff depends on the sum of all exponentials.
fn sums(filter: &Filter) -> bool {
    filter.top_k.is_none() && filter.top_p.is_some_and(|p| p < 1.0)
}

/// Returns what must be subtracted from each row before it is scaled. With large scores or a small temperature,
/// quotients of a sound row can overflow; its largest score is then subtracted, which changes no probability. From an
/// unsound row, NaN is subtracted, so that all of it becomes NaN.
fn shifts(rows: &[RowView<'_>], scaled: &[Summary], width: usize) -> Vec<f32> {
    let given = Summary::of_rows(rows, width);
    let masses = by_row(&given, width).map(Mass::of).zip(by_row(scaled, width).map(Mass::of));
    let shift = |(given, scaled): (Mass, Mass)| match (given.is_sound(), scaled.is_sound()) {
        (true, true) => 0.0,
        (true, false) => given.max,
        (false, _) => f32::NAN,
    };
    masses.map(shift).collect()
}

/// Excludes the tokens after the cutoff. An unsound row has none and is left unchanged.
fn exclude(scores: &mut [f32], start: usize, cutoff: Option<Cutoff>) {
    let Some(Cutoff { score: last, id }) = cutoff else { return };
    let ties = (id as usize + 1).saturating_sub(start).min(scores.len());
    vectorized(
        #[inline(always)]
        || {
            let (before, after) = scores.split_at_mut(ties);
            for score in before {
                *score = if *score >= last { *score } else { f32::NEG_INFINITY };
            }
            for score in after {
                *score = if *score > last { *score } else { f32::NEG_INFINITY };
            }
        },
    );
}
