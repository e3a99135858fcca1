//! Temperature, top-k, top-p and min-p: a row is scaled, a cutoff is found, and what lies past it is excluded.
use super::nucleus::{Cutoff, cutoff};
use super::parallel::{chunks, map, update_chunks};
use super::softmax::{Mass, Summary, summarize};
use super::tensor::Scores;
use super::{Host, HostTensor};
use crate::Result;
use crate::backend::{Filter, Row, check_rows};

pub(super) fn filter(
    host: &Host,
    rows: &[Row<'_, Host>],
    filter: &Filter,
    width: usize,
) -> Result<HostTensor> {
    check_rows(host, "filter", rows, width)?;
    filter.validate()?;
    let rows = Scores::of_all(rows, width);
    let mut scores = vec![0.0; rows.len() * width];
    let summaries = update_chunks(&mut scores, width, |row, columns, out| {
        scale(rows[row].read(columns, &mut Vec::new()), 0.0, filter.temperature, out)
    });
    let items: Vec<_> =
        scores.chunks_mut(width.max(1)).zip(summaries.chunks(chunks(width).max(1))).zip(&rows).collect();
    let entries = rows.len() * width;
    map(items, entries, |((scores, summaries), row)| {
        if Mass::total(summaries.iter().map(|chunk| chunk.mass)).is_sound() {
            return truncate(scores, summaries, filter);
        }
        match rescale(row, filter.temperature, scores) {
            Some(summaries) => truncate(scores, &summaries, filter),
            None => scores.fill(f32::NAN),
        }
    });
    HostTensor::from_rows(scores, width)
}

/// `out = (scores − shift) / temperature`.
fn scale(scores: &[f32], shift: f32, temperature: f32, out: &mut [f32]) -> Summary {
    if temperature == 1.0 && shift == 0.0 {
        out.copy_from_slice(scores);
    } else {
        out.iter_mut().zip(scores).for_each(|(out, x)| *out = (x - shift) / temperature);
    }
    summarize(out)
}

/// Scores can be so large, or a temperature so small, that the quotient overflows in a sound row: then the
/// largest score is subtracted first, which changes no probability. None if the row itself is unsound.
fn rescale(row: &Scores<'_>, temperature: f32, out: &mut [f32]) -> Option<Vec<Summary>> {
    let width = out.len();
    let given = super::softmax::summaries(std::slice::from_ref(row), width);
    let given = Mass::total(given.iter().map(|chunk| chunk.mass));
    given.is_sound().then(|| {
        update_chunks(out, width, |_, columns, out| {
            scale(row.read(columns, &mut Vec::new()), given.max, temperature, out)
        })
    })
}

fn truncate(scores: &mut [f32], summaries: &[Summary], filter: &Filter) {
    if !filter.truncates() {
        return;
    }
    let cutoff = cutoff(scores, summaries, filter);
    let width = scores.len();
    update_chunks(scores, width, |_, columns, scores| exclude(scores, columns.start, cutoff));
}

fn exclude(scores: &mut [f32], start: usize, cutoff: Cutoff) {
    let ties = (cutoff.id as usize + 1).saturating_sub(start).min(scores.len());
    let (before, after) = scores.split_at_mut(ties);
    for score in before {
        *score = if *score >= cutoff.score { *score } else { f32::NEG_INFINITY };
    }
    for score in after {
        *score = if *score > cutoff.score { *score } else { f32::NEG_INFINITY };
    }
}
