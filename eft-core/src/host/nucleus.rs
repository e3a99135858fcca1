//! The cutoff of a score row under top-k, top-p and min-p, at a cost linear in the width for any row.
use super::math::exp;
use super::order::{Band, Depth, Key, gather, keep_first, kth_largest, maxima};
use super::parallel::{by_row, map, map_chunks};
use super::summary::{BLOCK, Mass, Summary};
use super::tensor::RowView;
use super::vector::vectorized;
use crate::TokenId;
use crate::backend::Filter;

/// The last token that is kept, in the total order of tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cutoff {
    pub(super) score: f32,
    pub(super) id: TokenId,
}

impl Cutoff {
    /// Returns the stricter of two cutoffs.
    fn and(self, other: Self) -> Self {
        let other_first = other.score > self.score || (other.score == self.score && other.id < self.id);
        if other_first { other } else { self }
    }
}

/// Returns the cutoff of each row under the whole filter; `None` for an unsound row.
pub(super) fn cutoffs(
    rows: &[RowView<'_>],
    summaries: &[Summary],
    filter: &Filter,
    width: usize,
) -> Vec<Option<Cutoff>> {
    let mut searches: Vec<_> = by_row(summaries, width).map(|row| Search::new(row, filter)).collect();
    let step = |searches: &mut Vec<Search>| {
        let bands: Vec<_> = searches.iter().map(|search| search.band).collect();
        let keys = gather(rows, summaries, &bands, width);
        let entries = keys.iter().map(Vec::len).sum();
        map(searches.iter_mut().zip(keys).collect(), entries, |(search, keys)| search.step(keys));
    };
    step(&mut searches);
    if searches.iter().any(|search| search.needed.is_some()) {
        let histograms = map_chunks(rows.len(), width, |row, columns| {
            let search = &searches[row];
            search.needed.map(|_| histogram(rows[row].read(columns, &mut Vec::new()), search.depth(width)))
        });
        for (search, histograms) in searches.iter_mut().zip(by_row(&histograms, width)) {
            search.narrow(histograms, width);
        }
        step(&mut searches);
    }
    searches.into_iter().map(|search| search.cutoff).collect()
}

/// The search for one row's cutoff.
struct Search {
    /// The cutoff by the conditions evaluated so far; `None` for an unsound row.
    cutoff: Option<Cutoff>,
    /// The scores among which to look next.
    band: Band,
    /// The largest score.
    max: f32,
    top_k: Option<usize>,
    top_p: Option<f64>,
    /// The mass that top-p still needs from the band, relative to that of the largest score; `None` once its token has
    /// been found.
    needed: Option<f64>,
    /// Whether the token at which top-p is reached is known to lie in the band.
    last: bool,
}

impl Search {
    fn new(summaries: &[Summary], filter: &Filter) -> Self {
        let mass = Mass::of(summaries);
        let top_p = filter.top_p.filter(|p| *p < 1.0).map(f64::from);
        let mut maxima = maxima(summaries);
        let half = maxima.len().div_ceil(2);
        let band = match (filter.top_k, top_p) {
            (Some(k), _) => Band::above(kth_largest(&mut maxima, k)),
            // Most nuclei lie above the median of the blocks' maxima. A histogram of all scores takes far longer than half of the
            // blocks.
            (None, Some(_)) => Band::above(kth_largest(&mut maxima, half)),
            (None, None) => Band::NONE,
        };
        let min_p = Cutoff { score: min_p(mass.max, filter.min_p.unwrap_or(0.0)), id: TokenId::MAX };
        Self {
            cutoff: mass.is_sound().then_some(min_p),
            band: if mass.is_sound() { band } else { Band::NONE },
            max: mass.max,
            top_k: filter.top_k,
            top_p,
            needed: top_p.filter(|_| mass.is_sound()).map(|p| p * mass.sum),
            last: false,
        }
    }

    /// Evaluates top-k and top-p on the tokens of the band.
    fn step(&mut self, mut keys: Vec<Key>) {
        if let Some(k) = self.top_k {
            keep_first(&mut keys, k);
            self.needed = self.top_p.map(|p| p * weigh(&keys, self.max));
            self.last = true;
            self.tighten(keys.iter().max());
        }
        if let Some(needed) = self.needed.filter(|needed| self.last || weigh(&keys, self.max) >= *needed) {
            self.tighten(crossing(&mut keys, self.max, needed));
            self.needed = None;
        }
    }

    /// Returns the depths by which the histogram is binned: below the deepest lies a mass of less than 1 − p.
    fn depth(&self, width: usize) -> Depth {
        let deepest = (width as f64 / (1.0 - self.top_p.unwrap_or(0.0))).ln();
        Depth { max: self.max, scale: (Depth::COUNT as f64 / deepest) as f32 }
    }

    /// Narrows the band to the depth at which the cumulative mass reaches what top-p needs.
    fn narrow(&mut self, histograms: &[Option<[f64; Depth::COUNT]>], width: usize) {
        self.band = Band::NONE;
        let Some(needed) = &mut self.needed else { return };
        let mass = |at: usize| histograms.iter().flatten().map(|chunk| chunk[at]).sum::<f64>();
        let mut at = 0;
        while at + 1 < Depth::COUNT && mass(at) < *needed {
            *needed -= mass(at);
            at += 1;
        }
        let depth = self.depth(width);
        // One depth more, to allow for rounding.
        let floor = if at + 1 < Depth::COUNT { self.max - (at + 2) as f32 / depth.scale } else { f32::MIN };
        self.band = Band { floor: floor.max(f32::MIN), depth, at: at as i32 };
        self.last = true;
    }

    fn tighten(&mut self, last: Option<&Key>) {
        let last = last.map(|key| Cutoff { score: key.score(), id: key.id() });
        self.cutoff = self.cutoff.map(|cutoff| last.map_or(cutoff, |last| cutoff.and(last)));
    }
}

/// Returns `Σ exp(x − max)` over the scores at each depth.
fn histogram(scores: &[f32], depth: Depth) -> [f64; Depth::COUNT] {
    let mut masses = [0.0; Depth::COUNT];
    vectorized(
        #[inline(always)]
        || {
            for block in scores.chunks(BLOCK) {
                let (mut weights, mut depths) = ([0.0; BLOCK], [0; BLOCK]);
                for (weight, x) in weights.iter_mut().zip(block) {
                    *weight = exp(x - depth.max);
                }
                for (at, x) in depths.iter_mut().zip(block) {
                    *at = depth.of(*x);
                }
                for (weight, at) in weights.iter().zip(depths).take(block.len()) {
                    masses[at as usize] += f64::from(*weight);
                }
            }
        },
    );
    masses
}

/// Returns the smallest score whose probability is at least `p` times that of `max`.
fn min_p(max: f32, p: f32) -> f32 {
    let exact = f64::from(max) + f64::from(p).ln();
    let rounded = exact as f32;
    if f64::from(rounded) < exact { rounded.next_up() } else { rounded }
}

/// Returns `Σ exp(x − max)`.
fn weigh(keys: &[Key], max: f32) -> f64 {
    keys.iter().map(|key| f64::from(exp(key.score() - max))).sum()
}

/// Returns the token at which the weights, summed in the total order, reach `needed`, or the last token if they never
/// do. Each step halves the number of tokens left.
fn crossing(mut keys: &mut [Key], max: f32, mut needed: f64) -> Option<&Key> {
    while keys.len() > 1 {
        let middle = (keys.len() - 1) / 2;
        keys.select_nth_unstable(middle);
        let (first, second) = keys.split_at_mut(middle + 1);
        let weight = weigh(first, max);
        if weight >= needed {
            keys = first;
        } else {
            needed -= weight;
            keys = second;
        }
    }
    keys.first()
}
