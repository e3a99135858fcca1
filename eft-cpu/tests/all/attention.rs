//! Attention against its definition, on every set of instructions.
use std::ops::Range;

use eft_cpu::Instructions;
use eft_cpu::ops::{CacheType, Heads, NewTokens, RowCache, attend};
use eft_models::spec::Reach;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

/// Attention of one query by its definition, in f64.
fn exact(query: &[f32], keys: &[&[f32]], values: &[&[f32]], spec: &Heads<'_>, sink: f32) -> Vec<f64> {
    let score = |key: &&[f32]| {
        let product: f64 = query.iter().zip(*key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
        let score = f64::from(spec.scale) * product;
        spec.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh()).exp()
    };
    let weights: Vec<_> = keys.iter().map(score).collect();
    let sum = weights.iter().sum::<f64>() + f64::from(sink).exp();
    let value = |i: usize| weights.iter().zip(values).map(move |(w, v)| w * f64::from(v[i]) / sum);
    (0..query.len()).map(|i| value(i).sum()).collect()
}

/// The queries, keys and values of a row of tokens, token by token, with the heads of a token side by side.
struct Row<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    spec: Heads<'a>,
    kind: CacheType,
}

impl Row<'_> {
    /// Attends with the first `past` tokens first, and then with all others at once.
    fn attend(&self, past: usize) -> Vec<f32> {
        let Self { queries, keys, values, spec, kind } = self;
        let (width, of_keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (mut cache, mut out) = (RowCache::new(None, *kind), vec![0.0; queries.len()]);
        for tokens in [0..past, past..queries.len() / width] {
            let at = |width: usize| tokens.start * width..tokens.end * width;
            let (query, out) = (&queries[at(width)], &mut out[at(width)]);
            let (key, value) = (&keys[at(of_keys)], &values[at(of_keys)]);
            let new = NewTokens { query, key, value, past: tokens.start, cache: &mut cache, out };
            attend(vec![new], spec);
        }
        out
    }

    /// Attends with one head and one token at a time.
    fn one_by_one(&self) -> Vec<f32> {
        let Self { queries, keys, values, spec, kind } = self;
        let (width, of_keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let mut out = vec![0.0; queries.len()];
        for head in 0..spec.heads {
            let sinks = spec.sinks.map(|sinks| &sinks[head..head + 1]);
            let alone = Heads { heads: 1, kv_heads: 1, sinks, ..*spec };
            let mut cache = RowCache::new(None, *kind);
            for token in 0..queries.len() / width {
                let at = token * width + head * spec.head_dim..token * width + (head + 1) * spec.head_dim;
                let key = token * of_keys + self.key_head(head) * spec.head_dim;
                let key = key..key + spec.head_dim;
                let (query, out) = (&queries[at.clone()], &mut out[at]);
                let (value, key) = (&values[key.clone()], &keys[key]);
                let new = NewTokens { query, key, value, past: token, cache: &mut cache, out };
                attend(vec![new], &alone);
            }
        }
        out
    }

    fn key_head(&self, head: usize) -> usize {
        head / (self.spec.heads / self.spec.kv_heads)
    }

    fn exact(&self, token: usize, head: usize) -> Vec<f64> {
        let Seen { query, keys, values } = self.seen(token, head);
        let sink = self.spec.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head]);
        exact(query, &keys, &values, &self.spec, sink)
    }

    /// The query of a head, with the keys and values that it sees.
    fn seen(&self, token: usize, head: usize) -> Seen<'_> {
        let (width, heads, kv_heads) = (self.spec.head_dim, self.spec.heads, self.spec.kv_heads);
        let at = |token: usize| (token * kv_heads + self.key_head(head)) * width;
        let seen = self.spec.reach.first(token)..token + 1;
        Seen {
            query: &self.queries[(token * heads + head) * width..][..width],
            keys: seen.clone().map(|token| &self.keys[at(token)..][..width]).collect(),
            values: seen.map(|token| &self.values[at(token)..][..width]).collect(),
        }
    }
}

struct Seen<'a> {
    query: &'a [f32],
    keys: Vec<&'a [f32]>,
    values: Vec<&'a [f32]>,
}

/// Rounds entries of heads to what a cache of this type keeps. A token that attends to itself alone returns its value.
fn rounded(kind: CacheType, entries: &[f32], width: usize) -> Vec<f32> {
    let (scale, softcap, reach) = (1.0, None, Reach::default());
    let spec = Heads { heads: 1, kv_heads: 1, head_dim: width, scale, softcap, reach, sinks: None };
    let mut out = vec![0.0; entries.len()];
    for (entries, out) in entries.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let zero = vec![0.0; width];
        let mut cache = RowCache::new(None, kind);
        let (query, key, value, cache) = (&zero[..], &zero[..], entries, &mut cache);
        attend(vec![NewTokens { query, key, value, past: 0, cache, out }], &spec);
    }
    out
}

#[test]
fn entries_that_a_smaller_cache_cannot_keep() {
    assert_eq!(rounded(CacheType::F16, &[1e6, -1e6, 0.5], 3), [65_504.0, -65_504.0, 0.5]);
    assert!(rounded(CacheType::F16, &[1.0, f32::NAN], 2)[1].is_nan());
    assert_eq!(rounded(CacheType::Q8_0, &[0.0, -0.0], 2), [0.0; 2]);
    for broken in [f32::NAN, f32::INFINITY] {
        assert!(rounded(CacheType::Q8_0, &[1.0, broken], 2).iter().all(|x| x.is_nan()), "{broken}");
    }
}

#[test]
fn rows_that_attend_together_give_what_each_gives_alone() {
    let (scale, softcap, sinks) = (0.5, None, [0.5, -1.0, 2.0, 0.0]);
    let numbers: Vec<f32> = (0..96 * 200).map(|i| (i as f32 * 0.7).sin()).collect();
    // Rows of different lengths, which are fed nothing, one token, or several.
    let rows = [(150, 1), (3, 2), (50, 0), (190, 7), (0, 1), (120, 1), (60, 140)];
    fn new<'a>(
        numbers: &'a [f32],
        (past, tokens): (usize, usize),
        cache: &'a mut RowCache,
        out: &'a mut [f32],
    ) -> NewTokens<'a> {
        let at = |width: usize| past * width..(past + tokens) * width;
        let (query, key) = (&numbers[at(96)], &numbers[at(48)]);
        NewTokens { query, key, value: key, past, cache, out }
    }
    // Enough threads and, in a pass, enough work for it to be split.
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let windows = [None, Some(70)];
    for (kind, window) in CacheType::ALL.into_iter().flat_map(|kind| windows.map(|window| (kind, window))) {
        let reach = Reach { window, ..Reach::default() };
        let spec = Heads { heads: 4, kv_heads: 2, head_dim: 24, scale, softcap, reach, sinks: Some(&sinks) };
        let (mut caches, mut alone) = (Vec::new(), Vec::new());
        for (past, tokens) in rows {
            let mut cache = RowCache::new(None, kind);
            attend(vec![new(&numbers, (0, past), &mut cache, &mut vec![0.0; 96 * past])], &spec);
            let mut out = vec![0.0; 96 * tokens];
            attend(vec![new(&numbers, (past, tokens), &mut cache.clone(), &mut out)], &spec);
            caches.push(cache);
            alone.push(out);
        }
        let mut together: Vec<_> = alone.iter().map(|out| vec![0.0; out.len()]).collect();
        let all = caches.iter_mut().zip(rows).zip(&mut together);
        let all = all.map(|((cache, tokens), out)| new(&numbers, tokens, cache, out)).collect();
        pool.install(|| eft_cpu::pass(|| attend(all, &spec)));
        assert_eq!(together, alone, "{kind:?}, {window:?}");
    }
}

/// Queries whose largest score comes last, so that earlier sums are scaled down to nothing, and sinks and entries that are not finite.
#[test]
fn many_tokens_are_computed_as_one_alone() {
    let (tokens, width) = (300, 20);
    let numbers =
        |factor: f32| (0..tokens * width).map(|i| factor * (i as f32 * 0.7).sin()).collect::<Vec<_>>();
    let (queries, values) = (vec![1.0; tokens * width], numbers(1.0));
    let rising = |i: usize| if i.is_multiple_of(width) { (i / width) as f32 / 2.0 } else { 0.0 };
    let rising: Vec<_> = (0..tokens * width).map(rising).collect();
    let broken = |at: usize, x: f32| {
        let mut numbers = numbers(0.2);
        numbers[at * width + 3] = x;
        numbers
    };
    let mut cases = vec![(rising, values.clone(), 1.0), (numbers(0.2), values.clone(), f32::NAN)];
    cases.push((numbers(0.2), values.clone(), f32::INFINITY));
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        cases.push((broken(140, x), values.clone(), 0.0));
        cases.push((numbers(0.2), broken(140, x), 0.0));
    }
    // All scores of the first keys are −∞.
    let of_first = |i: usize| if i < 140 * width { f32::NEG_INFINITY } else { 0.1 };
    cases.push(((0..tokens * width).map(of_first).collect(), values, f32::NEG_INFINITY));
    for (case, (keys, values, sink)) in cases.iter().enumerate() {
        for reach in [Reach::default(), Reach { window: Some(200), ..Reach::default() }] {
            let sinks = Some(std::slice::from_ref(sink));
            let spec =
                Heads { heads: 1, kv_heads: 1, head_dim: width, scale: 1.0, softcap: None, reach, sinks };
            let row = Row { queries: &queries, keys, values, spec, kind: CacheType::F32 };
            for instructions in Instructions::available() {
                let (together, alone) = instructions.run(|| (row.attend(0), row.one_by_one()));
                for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
                    let same = (together - alone).abs() < 1e-5 || together.is_nan() && alone.is_nan();
                    let same = same || together == alone;
                    assert!(same, "case {case}, {instructions:?}, entry {i}: {together}, {alone}");
                }
            }
        }
    }
}

/// How queries are divided into parts depends on the number of threads.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (tokens, width) = (200, 24);
    let numbers: Vec<f32> = (0..4 * tokens * width).map(|i| (i as f32 * 0.7).sin()).collect();
    for window in [None, Some(150)] {
        let reach = Reach { window, ..Reach::default() };
        let spec =
            Heads { heads: 4, kv_heads: 2, head_dim: width, scale: 0.5, softcap: None, reach, sinks: None };
        let keys = &numbers[..2 * tokens * width];
        let row = Row { queries: &numbers, keys, values: keys, spec, kind: CacheType::F32 };
        let with = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| eft_cpu::pass(|| row.attend(37)))
        };
        assert_eq!(with(1), with(2));
        assert_eq!(with(1), with(16));
    }
}

#[test]
fn a_cache_takes_tokens_from_another() {
    let (scale, softcap, reach) = (0.5, None, Reach::default());
    let spec = Heads { heads: 2, kv_heads: 2, head_dim: 4, scale, softcap, reach, sinks: None };
    let numbers: Vec<f32> = (0..8 * 80).map(|i| (i as f32 * 0.7).sin()).collect();
    let feed = |cache: &mut RowCache, tokens: Range<usize>| {
        let new = &numbers[8 * tokens.start..8 * tokens.end];
        let mut out = vec![0.0; new.len()];
        let (past, out_of) = (tokens.start, &mut out[..]);
        attend(vec![NewTokens { query: new, key: new, value: new, past, cache, out: out_of }], &spec);
        out
    };
    for kind in CacheType::ALL {
        let (mut long, mut short) = (RowCache::new(None, kind), RowCache::new(None, kind));
        feed(&mut long, 0..79);
        feed(&mut short, 0..3);
        assert!(short.take_tokens(&long, 3..70));
        assert_eq!(feed(&mut short, 70..80), feed(&mut long, 70..80));
        assert!(!short.take_tokens(&long, 70..81), "tokens that it does not hold");
    }
    let mut other = RowCache::new(None, CacheType::F16);
    assert!(!other.take_tokens(&RowCache::new(None, CacheType::Q8_0), 0..0));
}

proptest! {
    #[test]
    fn a_smaller_cache_rounds_to_its_nearest_numbers(
        entries in prop::collection::vec(-1.0f32..1.0, 1..80),
        exponent in -10i32..10,
    ) {
        let entries: Vec<_> = entries.iter().map(|x| x * 2.0f32.powi(exponent)).collect();
        let width = entries.len();
        prop_assert_eq!(rounded(CacheType::F32, &entries, width), &entries[..]);
        for (rounded, entry) in rounded(CacheType::F16, &entries, width).iter().zip(&entries) {
            // Half of the last of eleven bits; near 0, half of the smallest number.
            let bound = (entry.abs() / 2048.0).max(2.0f32.powi(-25));
            prop_assert!((rounded - entry).abs() <= bound, "{rounded}, {entry}");
        }
        let groups = rounded(CacheType::Q8_0, &entries, width);
        for (rounded, entries) in groups.chunks(32).zip(entries.chunks(32)) {
            let largest = entries.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            for (rounded, entry) in rounded.iter().zip(entries) {
                prop_assert!((rounded - entry).abs() <= 0.5001 * largest / 127.0, "{rounded}, {entry}");
            }
        }
    }

    #[test]
    fn attention_is_a_mean_of_the_values_that_each_query_sees(
        numbers in prop::collection::vec(-1.0f32..1.0, 3000..4000),
        // From 33 new tokens on, up to 128 queries are computed at once, with 128 keys at a time.
        (width, tokens) in (1usize..80, prop_oneof![4 => 1usize..24, 1 => 32usize..180]),
        past in any::<prop::sample::Index>(),
        (kv_heads, group) in (1usize..3, 1usize..4),
        (window, chunk) in (prop::option::of(1usize..150), prop::option::of(1usize..150)),
        softcap in prop::option::of(1.0f32..5.0),
        sinks in prop::option::of(prop::collection::vec(
            prop_oneof![Just(f32::NEG_INFINITY), -30.0f32..30.0], 6,
        )),
        nan_at in any::<prop::sample::Index>(),
        kind in prop::sample::select(&CacheType::ALL),
    ) {
        let (heads, past) = (kv_heads * group, past.index(tokens));
        let mut numbers = numbers.iter().copied().cycle();
        let mut row = |heads: usize| -> Vec<f32> { numbers.by_ref().take(tokens * heads * width).collect() };
        let (queries, keys, values) = (row(heads), row(kv_heads), row(kv_heads));
        let (scale, reach, sinks) = (0.3, Reach { window, chunk }, sinks.as_deref());
        let spec = Heads { heads, kv_heads, head_dim: width, scale, softcap, reach, sinks };
        let row = Row { queries: &queries, keys: &keys, values: &values, spec, kind };
        let (kept_keys, kept_values) = (rounded(kind, &keys, width), rounded(kind, &values, width));
        let kept = Row { keys: &kept_keys, values: &kept_values, ..row };
        let (mut broken_keys, mut broken_values) = (keys.clone(), values.clone());
        let nan = nan_at.index(keys.len());
        (broken_keys[nan], broken_values[nan]) = (f32::NAN, f32::NAN);
        let column = nan % width;
        let (nan_token, nan_head) = (nan / (kv_heads * width), nan / width % kv_heads);
        let exact: Vec<_> =
            (0..tokens * heads).map(|query| kept.exact(query / heads, query % heads)).collect();
        for instructions in Instructions::available() {
            let together = instructions.run(|| row.attend(past));
            let alone = instructions.run(|| row.one_by_one());
            let broken = instructions.run(|| Row { keys: &broken_keys, ..row }.attend(past));
            let broken_values = instructions.run(|| Row { values: &broken_values, ..row }.attend(past));
            for query in 0..tokens * heads {
                let (token, head) = (query / heads, query % heads);
                let [out, alone, broken, broken_values] =
                    [&together, &alone, &broken, &broken_values].map(|all| &all[query * width..][..width]);
                let is_one_of_many = if token < past { past > 32 } else { tokens - past > 32 };
                if !is_one_of_many {
                    prop_assert_eq!(out, alone, "{:?}: the query {} depends on others", instructions, query);
                }
                for (out, exact) in out.iter().zip(&exact[query]) {
                    let wrong = (f64::from(*out) - exact).abs();
                    prop_assert!(wrong < 1e-5, "{instructions:?}: {out}, {exact}");
                }
                let seen = reach.first(token)..token + 1;
                if seen.contains(&nan_token) && row.key_head(head) == nan_head {
                    prop_assert!(broken.iter().all(|x| x.is_nan()), "{instructions:?}: a NaN was lost");
                    prop_assert!(broken_values[column].is_nan(), "{instructions:?}: a NaN was lost");
                } else {
                    // After a NaN, the queries of a tile are computed a few at a time, which rounds otherwise.
                    for (unbroken, out) in broken.iter().chain(broken_values).zip(out.iter().chain(out)) {
                        prop_assert!(unbroken == out || is_one_of_many && (unbroken - out).abs() < 1e-5,
                            "{instructions:?}: a NaN that the query does not see");
                    }
                }
            }
        }
    }
}
