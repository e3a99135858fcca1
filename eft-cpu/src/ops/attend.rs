//! Attention of new tokens to the KV caches of their rows.
use std::array;
use std::borrow::Cow;

use fearless_simd::Level;

use super::attention::{Attention, Query, TILE};
use super::many_queries::{ManyQueries, QUERIES};
use super::pages::Pages;
use super::row_cache::Memory;
use super::stored::Unit;
use super::{Heads, RowCache};
use crate::{instructions, level, shared};

/// The number of multiplications from which attention is split over threads.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// The number of new tokens of a row from which its queries are computed by [`ManyQueries`]. Speculation verifies fewer at once, unless it
/// is told otherwise, so the results of drafted tokens are, to the last bit, those of single ones.
const MANY_TOKENS: usize = 33;

/// The least number of queries that they are computed with at once, where there are few for each thread.
const FEW_QUERIES: usize = 16;

/// The number of parts that the queries of a row are divided into for each thread, at least.
const PARTS: usize = 4;

/// New tokens of one row of a batch: an input of [`attend`], which has an example. `query`, `key`, `value` and `out` have one row for
/// each new token, with the heads side by side.
#[derive(Debug)]
pub struct NewTokens<'a> {
    /// Their queries.
    pub query: &'a [f32],
    /// Their own keys.
    pub key: &'a [f32],
    /// Their own values.
    pub value: &'a [f32],
    /// The number of tokens of the row before them.
    pub past: usize,
    /// The cache of the row.
    pub cache: &'a mut RowCache,
    /// Where their attention is written.
    pub out: &'a mut [f32],
}

/// Appends the keys and values of new tokens to the caches of their rows, each after the tokens before them, and computes the
/// attention of each new token to itself and the tokens of its row before it that are within the window.
///
/// ```
/// use eft_cpu::ops::{Heads, NewTokens, RowCache, attend};
/// use eft_models::spec::Reach;
///
/// let (scale, softcap, reach) = (1.0, None, Reach::default());
/// let mut spec = Heads { heads: 1, kv_heads: 1, head_dim: 2, scale, softcap, reach, sinks: None };
/// let (mut cache, mut out) = (RowCache::default(), [0.0; 2]);
/// let mut attend_to_itself = |spec: &Heads<'_>| {
///     let (query, key, value, past) = (&[1.0, 0.0], &[1.0, 0.0], &[3.0, 4.0], 0);
///     attend(vec![NewTokens { query, key, value, past, cache: &mut cache, out: &mut out }], spec);
///     out
/// };
/// // A token that attends to itself alone returns its value.
/// assert_eq!(attend_to_itself(&spec), [3.0, 4.0]);
/// // A sink with the same logit takes half of the weight.
/// spec.sinks = Some(&[1.0]);
/// assert_eq!(attend_to_itself(&spec), [1.5, 2.0]);
/// ```
///
/// # Panics
/// If a slice does not have the length that `spec` and the number of tokens imply, or if a cache does not hold the tokens before the new
/// ones.
pub fn attend(rows: Vec<NewTokens<'_>>, spec: &Heads<'_>) {
    let columns = spec.heads * spec.head_dim;
    let rows = rows.into_iter().filter(|row| !row.query.is_empty());
    let mut rows: Vec<_> = rows.map(|row| Row::new(row, spec)).collect();
    let work: usize = rows.iter().map(|row| row.tokens * columns * (row.queries.past + row.tokens)).sum();
    let mut tiles: Vec<_> = rows.iter_mut().flat_map(|row| row.tiles(spec)).collect();
    // Rows that share pages read those of a head one after another, while they are in the processor's caches.
    tiles.sort_by_key(|tile| tile.kv_head);
    let level = instructions::current();
    let attend = |scratch: &mut Vec<f32>, tile: Tile<'_>| match &tile.row.cache.memory {
        Memory::F32(pages) => tile.attend(pages, spec, level, scratch),
        Memory::F16(pages) => tile.attend(pages, spec, level, scratch),
        Memory::Q8(pages) => tile.attend(pages, spec, level, scratch),
    };
    if shared::pays(work, PARALLEL_THRESHOLD) {
        shared::for_each_with(tiles, Vec::new, attend);
    } else {
        let mut scratch = Vec::new();
        tiles.into_iter().for_each(|tile| attend(&mut scratch, tile));
    }
    rows.iter_mut().for_each(|row| row.finish(spec));
}

/// The queries of the new tokens of a row, and the cache that they attend to.
struct Queries<'a> {
    /// Each query as wide as keys and values are in the cache.
    query: Cow<'a, [f32]>,
    /// This width.
    padded: usize,
    past: usize,
    cache: &'a RowCache,
    /// The number of queries that are computed at once.
    at_once: usize,
}

/// New tokens of a row, whose keys and values are in the cache.
struct Row<'a> {
    tokens: usize,
    queries: Queries<'a>,
    out: &'a mut [f32],
    /// If there are several tokens, their results: the queries of a key-value head side by side, token by token, so that each part of the
    /// work writes a slice of its own.
    by_head: Vec<f32>,
}

impl<'a> Row<'a> {
    fn new(new: NewTokens<'a>, spec: &Heads<'_>) -> Self {
        let NewTokens { query, key, value, past, cache, out } = new;
        let narrow = query.len() / spec.heads * spec.kv_heads;
        assert_eq!(
            [out.len(), key.len(), value.len()],
            [query.len(), narrow, narrow],
            "lengths of new tokens"
        );
        cache.append(past, key, value, spec);
        let (width, tokens) = (spec.head_dim, query.len() / (spec.heads * spec.head_dim));
        let padded = width.next_multiple_of(cache.entries());
        let query = if padded == width {
            Cow::Borrowed(query)
        } else {
            let mut wide = vec![0.0; query.len() / width * padded];
            for (wide, query) in wide.chunks_exact_mut(padded).zip(query.chunks_exact(width)) {
                wide[..width].copy_from_slice(query);
            }
            Cow::Owned(wide)
        };
        let by_head = vec![0.0; if tokens == 1 { 0 } else { out.len() }];
        Self {
            tokens,
            queries: Queries { query, padded, past, cache, at_once: at_once(tokens, spec) },
            out,
            by_head,
        }
    }

    /// Parts of the work, each with the place of its results.
    fn tiles(&mut self, spec: &Heads<'_>) -> impl Iterator<Item = Tile<'_>> {
        let (width, group) = (spec.head_dim, spec.heads / spec.kv_heads);
        let results = if self.tokens == 1 { &mut *self.out } else { &mut self.by_head };
        let (row, tokens) = (&self.queries, self.tokens);
        results.chunks_exact_mut(tokens * group * width).enumerate().flat_map(move |(kv_head, out)| {
            let tiles = out.chunks_mut(row.at_once * width).enumerate();
            tiles.map(move |(tile, out)| Tile { row, kv_head, start: tile * row.at_once, out })
        })
    }

    /// Brings the results into the order of the tokens.
    fn finish(&mut self, spec: &Heads<'_>) {
        let (width, group) = (spec.head_dim, spec.heads / spec.kv_heads);
        if self.tokens > 1 {
            for (token, out) in self.out.chunks_exact_mut(spec.heads * width).enumerate() {
                for (kv_head, out) in out.chunks_exact_mut(group * width).enumerate() {
                    let start = (kv_head * self.tokens + token) * group * width;
                    out.copy_from_slice(&self.by_head[start..start + group * width]);
                }
            }
        }
    }
}

/// How many queries to one key-value head are computed at once.
fn at_once(tokens: usize, spec: &Heads<'_>) -> usize {
    let group = spec.heads / spec.kv_heads;
    // Queries that are computed together see as many more keys than each as there are tokens between the first and the last of them.
    let is_near = |reach: Option<usize>| reach.is_some_and(|reach| reach * group < QUERIES);
    if tokens < MANY_TOKENS || is_near(spec.reach.window) || is_near(spec.reach.chunk) {
        return TILE;
    }
    let of_thread = (tokens * spec.heads).div_ceil(PARTS * rayon::current_num_threads());
    of_thread.next_multiple_of(FEW_QUERIES).min(QUERIES)
}

/// Some queries of a row that attend to one key-value head: those from the number `start` on.
struct Tile<'a> {
    row: &'a Queries<'a>,
    kv_head: usize,
    start: usize,
    out: &'a mut [f32],
}

impl Tile<'_> {
    fn attend<U: Unit>(self, pages: &Pages<U>, spec: &Heads<'_>, level: Level, scratch: &mut Vec<f32>) {
        let Self { row: Queries { query, padded, past, at_once, .. }, kv_head, start, out } = self;
        let (width, group) = (spec.head_dim, spec.heads / spec.kv_heads);
        let count = out.len() / width;
        let of_index = |index: usize| {
            let (token, head) = (index / group, kv_head * group + index % group);
            let seen = spec.reach.first(past + token)..past + token + 1;
            let sink = spec.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head]);
            Query { query: &query[(token * spec.heads + head) * padded..][..*padded], seen, sink }
        };
        if *at_once > TILE {
            let queries: Vec<_> = (start..start + count).map(of_index).collect();
            let (queries, out, mut finite) = (&queries[..], &mut *out, true);
            let is_finite = &mut finite;
            level::run_at(level, ManyQueries { queries, pages, kv_head, spec, out, is_finite });
            if finite {
                return;
            }
        }
        for (i, out) in out.chunks_mut(TILE * width).enumerate() {
            let (first, last) = (start + i * TILE, start + count - 1);
            let queries: [Query<'_>; TILE] = array::from_fn(|i| of_index(last.min(first + i)));
            let queries = &queries[..out.len() / width];
            level::run_at(level, Attention { queries, pages, kv_head, spec, scratch, out });
        }
    }
}
