//! The total order of tokens, and finding its first tokens by selection instead of sorting.
use super::parallel::{CHUNK, by_row, map, map_chunks};
use super::summary::{BLOCK, Mass, Summary};
use super::tensor::{Host, RowView};
use super::vector::vectorized;
use crate::backend::{Pick, ScoreRow, check_rows};
use crate::{Result, TokenId};

/// A score and its token in one number. Smaller numbers come first in the total order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    #[inline(always)]
    fn new(score: f32, id: TokenId) -> Self {
        // Adding zero makes −0 and +0 equal. The bits of a float, read as an integer, are then in the order of its
        // value, once the order of the positive numbers is reversed.
        let bits = (score + 0.0).to_bits();
        let descending = if bits >> 31 == 1 { bits } else { bits ^ 0x7fff_ffff };
        Self(u64::from(descending) << 32 | u64::from(id))
    }

    pub(super) fn score(self) -> f32 {
        let descending = (self.0 >> 32) as u32;
        f32::from_bits(if descending >> 31 == 1 { descending } else { descending ^ 0x7fff_ffff })
    }

    pub(super) fn id(self) -> TokenId {
        self.0 as TokenId
    }
}

/// A range of finite scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    /// The lowest score of the range.
    pub(super) floor: f32,
    pub(super) depth: Depth,
    /// The depth of all scores of the range.
    pub(super) at: i32,
}

impl Band {
    /// The empty range.
    pub(super) const NONE: Self = Self::above(f32::INFINITY);

    /// All scores of at least `floor`.
    pub(super) const fn above(floor: f32) -> Self {
        Self { floor: floor.max(f32::MIN), depth: Depth { max: 0.0, scale: 0.0 }, at: 0 }
    }

    /// Returns whether the range holds every score that is not below its floor.
    fn is_open(&self) -> bool {
        self.depth.scale == 0.0
    }

    #[inline(always)]
    fn contains(&self, score: f32) -> bool {
        score >= self.floor && self.depth.of(score) == self.at
    }
}

/// The distance of a score below the largest one, in steps of `1 / scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depth {
    pub(super) max: f32,
    pub(super) scale: f32,
}

impl Depth {
    /// The number of depths. Scores further down have the last depth.
    pub(super) const COUNT: usize = 256;

    #[inline(always)]
    pub(super) fn of(self, score: f32) -> i32 {
        // Converted to `i32`, since there are vector instructions for that.
        (((self.max - score) * self.scale) as i32).min(Self::COUNT as i32 - 1)
    }
}

/// Returns the tokens of each row that lie in its band.
pub(super) fn gather(
    rows: &[RowView<'_>],
    summaries: &[Summary],
    bands: &[Band],
    width: usize,
) -> Vec<Vec<Key>> {
    let found = map_chunks(rows.len(), width, |row, columns| {
        let summary = &summaries[row * width.div_ceil(CHUNK) + columns.start / CHUNK];
        let mut keys = Vec::new();
        if summary.mass.max >= bands[row].floor {
            let mut buffer = Vec::new();
            let scores = rows[row].read(columns.clone(), &mut buffer);
            let (start, band) = (columns.start, bands[row]);
            vectorized(
                #[inline(always)]
                || {
                    if band.is_open() {
                        gather_chunk(scores, summary, start, band.floor, |x| x >= band.floor, &mut keys);
                    } else {
                        gather_chunk(scores, summary, start, band.floor, |x| band.contains(x), &mut keys);
                    }
                },
            );
        }
        keys
    });
    by_row(&found, width).map(<[_]>::concat).collect()
}

#[inline(always)]
fn gather_chunk(
    scores: &[f32],
    summary: &Summary,
    start: usize,
    floor: f32,
    keep: impl Fn(f32) -> bool,
    keys: &mut Vec<Key>,
) {
    const GROUP: usize = 16;
    for (i, (block, max)) in scores.chunks(BLOCK).zip(&summary.maxima).enumerate() {
        if *max < floor {
            continue;
        }
        for (j, group) in block.chunks(GROUP).enumerate() {
            let mut any = false;
            for x in group {
                any |= keep(*x);
            }
            if any {
                let first = (start + i * BLOCK + j * GROUP) as TokenId;
                let tokens = group.iter().zip(first..).filter(|(x, _)| keep(**x));
                keys.extend(tokens.map(|(x, id)| Key::new(*x, id)));
            }
        }
    }
}

/// Returns the largest score of each block of a row. The `k`-th largest of them is a lower bound for the `k`-th largest
/// score of the row.
pub(super) fn maxima(summaries: &[Summary]) -> Vec<f32> {
    summaries.iter().flat_map(|chunk| chunk.maxima).collect()
}

/// Returns the `k`-th largest score, or −∞ if there are fewer.
pub(super) fn kth_largest(scores: &mut [f32], k: usize) -> f32 {
    match k.checked_sub(1) {
        Some(last) if last < scores.len() => *scores.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1,
        _ => f32::NEG_INFINITY,
    }
}

/// Keeps the first `k` keys, in no particular order.
pub(super) fn keep_first(keys: &mut Vec<Key>, k: usize) {
    if k < keys.len() {
        keys.select_nth_unstable(k);
        keys.truncate(k);
    }
}

pub(super) fn top(
    host: &Host,
    rows: &[ScoreRow<'_, Host>],
    k: usize,
    width: usize,
) -> Result<Vec<Vec<Pick>>> {
    check_rows(host, "top", rows, width)?;
    let rows = RowView::of_all(rows, width);
    let summaries = Summary::of_rows(&rows, width);
    let bands: Vec<_> =
        by_row(&summaries, width).map(|row| Band::above(kth_largest(&mut maxima(row), k))).collect();
    let keys = gather(&rows, &summaries, &bands, width);
    let entries = keys.iter().map(Vec::len).sum();
    let rows = keys.into_iter().zip(by_row(&summaries, width).map(Mass::of)).collect();
    Ok(map(rows, entries, |(mut keys, mass): (_, Mass)| {
        if !mass.is_sound() {
            return vec![Pick { token: 0, log_prob: f32::NAN }];
        }
        keep_first(&mut keys, k);
        keys.sort_unstable();
        let picks = keys.iter().map(|key| Pick { token: key.id(), log_prob: mass.log_prob(key.score()) });
        picks.filter(|pick| pick.log_prob > f32::NEG_INFINITY).collect()
    }))
}
