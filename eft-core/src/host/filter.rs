//! Temperature, top-k, top-p and min-p: rows are scaled, a cutoff is found, and what lies past it is excluded.
use super::nucleus::{Cutoff, cutoffs};
use super::parallel::{by_row, create, update_chunks};
use super::summary::{Mass, Summary};
use super::tensor::Scores;
use super::vector::vectorized;
use super::{Host, HostTensor};
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
    let rows = Scores::of_all(rows, width);
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
        let scaled: Vec<_> = scores.chunks(width.max(1)).map(|row| Scores::F32(row.into())).collect();
        let cutoffs = cutoffs(&scaled, &summaries, filter, width);
        update_chunks(&mut scores, width, |row, columns, out| exclude(out, columns.start, cutoffs[row]));
    }
    HostTensor::from_rows(scores, width)
}

/// `out = (scores − shift) / temperature`.
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

/// Whether the cutoff depends on the sum of all exponentials.
fn sums(filter: &Filter) -> bool {
    filter.top_k.is_none() && filter.top_p.is_some_and(|p| p < 1.0)
}

/// Scores can be so large, or a temperature so small, that quotients overflow in a sound row: then its largest score
/// is to be subtracted first, which changes no probability. An unsound row is to become all NaN.
fn shifts(rows: &[Scores<'_>], scaled: &[Summary], width: usize) -> Vec<f32> {
    let given = Summary::of_rows(rows, width);
    let masses = by_row(&given, width).map(Mass::of).zip(by_row(scaled, width).map(Mass::of));
    let shift = |(given, scaled): (Mass, Mass)| match (given.is_sound(), scaled.is_sound()) {
        (true, true) => 0.0,
        (true, false) => given.max,
        (false, _) => f32::NAN,
    };
    masses.map(shift).collect()
}

/// An unsound row has no cutoff, and stays as it is.
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
