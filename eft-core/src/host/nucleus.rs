//! The first tokens of a row in the total order, found by selection instead of sorting, at a cost linear in the
//! width on any row.
use super::Host;
use super::exp::exp;
use super::parallel::{CHUNK, chunks, map_chunks};
use super::softmax::{BLOCK, Mass, Summary, summaries};
use super::tensor::Scores;
use crate::backend::{Filter, Pick, Row, check_rows};
use crate::{Result, TokenId};

/// The last token that is kept, in the total order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutoff {
    pub(super) score: f32,
    pub(super) id: TokenId,
}

impl Cutoff {
    /// Keeps every token.
    const NONE: Self = Self { score: f32::NEG_INFINITY, id: TokenId::MAX };

    /// Keeps what both keep.
    fn and(self, other: Self) -> Self {
        let other_first = other.score > self.score || (other.score == self.score && other.id < self.id);
        if other_first { other } else { self }
    }
}

/// A score and its token in one number; smaller numbers come first in the total order.
type Key = u64;

fn key(score: f32, id: TokenId) -> Key {
    // Adding zero makes the two zeros equal; then the bits of a float, read as an integer, are in its order once
    // those below zero are turned round.
    let bits = (score + 0.0).to_bits();
    let descending = if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff };
    u64::from(descending) << 32 | u64::from(id)
}

fn unkey(key: Key) -> Cutoff {
    let descending = (key >> 32) as u32;
    let bits = if descending >> 31 == 1 { descending } else { !descending & 0x7fff_ffff };
    Cutoff { score: f32::from_bits(bits), id: key as TokenId }
}

/// The last token that top-k, top-p and min-p all keep of a sound row.
pub(super) fn cutoff(scores: &[f32], summaries: &[Summary], filter: &Filter) -> Cutoff {
    let row = Scores::F32(scores.into());
    let mass = Mass::total(summaries.iter().map(|chunk| chunk.mass));
    let width = scores.len();
    let mut cutoff = match filter.min_p {
        Some(p) if p > 0.0 => Cutoff { score: min_p(mass.max, p), id: TokenId::MAX },
        _ => Cutoff::NONE,
    };
    let top_k = filter.top_k.filter(|k| *k < width);
    let top_p = filter.top_p.filter(|p| *p < 1.0).map(f64::from);
    let mut total = mass.sum;
    let mut first = match (top_k, top_p) {
        (Some(k), _) => leading(&row, summaries, k, width),
        (None, Some(p)) => {
            // All that lies below comes to less than 1 − p, so that the nucleus lies above.
            let depth = (width as f64 / (1.0 - p)).ln() + 0.01;
            gather(&row, summaries, (f64::from(mass.max) - depth) as f32, width)
        }
        (None, None) => return cutoff,
    };
    if top_k.is_some() {
        total = first.iter().map(|key| weight(*key, mass.max)).sum();
        if let Some(last) = first.iter().max() {
            cutoff = cutoff.and(unkey(*last));
        }
    }
    if let Some(last) = top_p.and_then(|p| crossing(&mut first, mass.max, p * total)) {
        cutoff = cutoff.and(unkey(last));
    }
    cutoff
}

/// The smallest score whose probability is at least `p` times that of `max`.
fn min_p(max: f32, p: f32) -> f32 {
    let exact = f64::from(max) + f64::from(p).ln();
    let rounded = exact as f32;
    if f64::from(rounded) < exact { rounded.next_up() } else { rounded }
}

/// Relative to the largest score's.
fn weight(key: Key, max: f32) -> f64 {
    f64::from(exp(unkey(key).score - max))
}

/// The first `k` tokens above −∞, in no order.
fn leading(row: &Scores<'_>, summaries: &[Summary], k: usize, width: usize) -> Vec<Key> {
    // The k-th largest of the blocks' maxima is at most the k-th largest score.
    let mut maxima: Vec<_> = summaries.iter().flat_map(|chunk| chunk.maxima).collect();
    let floor = match k.checked_sub(1) {
        Some(last) if last < maxima.len() => *maxima.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1,
        _ => f32::NEG_INFINITY,
    };
    let mut keys = gather(row, summaries, floor, width);
    if k < keys.len() {
        keys.select_nth_unstable(k);
        keys.truncate(k);
    }
    keys
}

/// The tokens of at least this score, and above −∞.
fn gather(row: &Scores<'_>, summaries: &[Summary], floor: f32, width: usize) -> Vec<Key> {
    let floor = if floor > f32::MIN { floor } else { f32::MIN };
    let found = map_chunks(1, width, |_, columns| {
        let mut buffer = Vec::new();
        let scores = row.read(columns.clone(), &mut buffer);
        let mut keys = Vec::new();
        let maxima = &summaries[columns.start / CHUNK].maxima;
        for (i, (block, max)) in scores.chunks(BLOCK).zip(maxima).enumerate() {
            if *max < floor {
                continue;
            }
            for (j, group) in block.chunks(16).enumerate() {
                if group.iter().fold(false, |any, x| any | (*x >= floor)) {
                    let start = columns.start + i * BLOCK + j * 16;
                    let ids = start as TokenId..;
                    keys.extend(
                        group.iter().zip(ids).filter(|(x, _)| **x >= floor).map(|(x, id)| key(*x, id)),
                    );
                }
            }
        }
        keys
    });
    found.concat()
}

/// The token at which the weights, summed in the total order, reach `needed`; the last if they never do.
fn crossing(keys: &mut [Key], max: f32, needed: f64) -> Option<Key> {
    let mut keys = keys;
    let mut before = 0.0;
    while keys.len() > 1 {
        let middle = (keys.len() - 1) / 2;
        keys.select_nth_unstable(middle);
        let (first, second) = keys.split_at_mut(middle + 1);
        let sum: f64 = first.iter().map(|key| weight(*key, max)).sum();
        if before + sum >= needed {
            keys = first;
        } else {
            before += sum;
            keys = second;
        }
    }
    keys.first().copied()
}

pub(super) fn top(host: &Host, rows: &[Row<'_, Host>], k: usize, width: usize) -> Result<Vec<Vec<Pick>>> {
    check_rows(host, "top", rows, width)?;
    let rows = Scores::of_all(rows, width);
    let summaries = summaries(&rows, width);
    let rows = rows.iter().zip(summaries.chunks(chunks(width).max(1)));
    Ok(rows.map(|(row, summaries)| top_of(row, summaries, k, width)).collect())
}

fn top_of(row: &Scores<'_>, summaries: &[Summary], k: usize, width: usize) -> Vec<Pick> {
    let mass = Mass::total(summaries.iter().map(|chunk| chunk.mass));
    if !mass.is_sound() {
        return vec![Pick { token: 0, log_prob: f32::NAN }];
    }
    let mut keys = leading(row, summaries, k, width);
    keys.sort_unstable();
    let picks = keys.into_iter().map(unkey).map(|t| Pick { token: t.id, log_prob: mass.log_prob(t.score) });
    picks.filter(|pick| pick.log_prob > f32::NEG_INFINITY).collect()
}
