//! KV caches that share their beginnings, against caches of their own.
use eft_cpu::ops::{CacheType, Heads, NewTokens, RowCache, attend};
use eft_models::spec::Reach;
use proptest::prelude::*;
use proptest::sample::Index;

/// How far back a query attends, and how many tokens a row may go back at once.
const WINDOW: usize = 20;
const BACK: usize = 8;

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const WIDTH: usize = 20;

/// What happens to the rows of a batch.
#[derive(Debug, Clone)]
enum Step {
    /// A row goes on with this number of tokens.
    Feed(Index, usize),
    /// A row goes back by this number of tokens.
    Rollback(Index, usize),
    /// A row becomes a copy of another.
    Fork(Index, Index),
    /// A row goes back to a part of what it has in common with another, and takes a part of the rest from it.
    Take(Index, Index, Index, Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = any::<Index>;
    let step = prop_oneof![
        4 => (row(), prop_oneof![4 => 1usize..5, 1 => 1usize..60]).prop_map(|(a, n)| Step::Feed(a, n)),
        1 => (row(), 0usize..=BACK).prop_map(|(a, n)| Step::Rollback(a, n)),
        2 => (row(), row()).prop_map(|(a, b)| Step::Fork(a, b)),
        2 => (row(), row(), row(), row()).prop_map(|(a, b, c, d)| Step::Take(a, b, c, d)),
    ];
    prop::collection::vec(step, 1..60)
}

/// One row: the numbers of its tokens, and its cache.
#[derive(Clone)]
struct Row {
    tokens: Vec<usize>,
    cache: RowCache,
    /// The most tokens that the cache has held.
    most: usize,
}

/// Numbers that stand for a token.
fn numbers(token: usize, heads: usize) -> Vec<f32> {
    (0..heads * WIDTH).map(|i| ((token * 31 + i) as f32 * 0.7).sin()).collect()
}

fn spec(window: Option<usize>) -> Heads<'static> {
    let (heads, kv_heads, head_dim) = (HEADS, KV_HEADS, WIDTH);
    let reach = Reach { window, ..Reach::default() };
    Heads { heads, kv_heads, head_dim, scale: 0.5, softcap: None, reach, sinks: None }
}

/// Appends the tokens after the first `past` ones, and returns their attention.
fn feed(cache: &mut RowCache, tokens: &[usize], past: usize, spec: &Heads<'_>) -> Vec<f32> {
    let new = &tokens[past..];
    let all = |heads| new.iter().flat_map(|token| numbers(*token, heads)).collect::<Vec<_>>();
    let (query, key) = (all(HEADS), all(KV_HEADS));
    let value: Vec<_> = key.iter().map(|x| 1.0 - x).collect();
    let mut out = vec![0.0; query.len()];
    let (query, key, value) = (&query[..], &key[..], &value[..]);
    attend(vec![NewTokens { query, key, value, past, cache, out: &mut out }], spec);
    out
}

proptest! {
    #[test]
    fn rows_that_share_their_beginning_do_not_disturb_each_other(
        steps in steps(),
        kind in prop::sample::select(&CacheType::ALL),
        is_windowed in any::<bool>(),
    ) {
        let window = is_windowed.then_some(WINDOW);
        let kept = is_windowed.then_some(WINDOW + BACK);
        let spec = spec(window);
        let empty = Row { tokens: Vec::new(), cache: RowCache::new(kept, kind), most: 0 };
        let mut rows = vec![empty; 3];
        let mut next = 0;
        for step in steps {
            match step {
                Step::Feed(row, count) => {
                    let row = &mut rows[row.index(3)];
                    let past = row.tokens.len();
                    row.tokens.extend(next..next + count);
                    next += count;
                    row.most = row.most.max(row.tokens.len());
                    let out = feed(&mut row.cache, &row.tokens, past, &spec);
                    let mut alone = RowCache::new(None, kind);
                    feed(&mut alone, &row.tokens[..past], 0, &spec);
                    prop_assert_eq!(out, feed(&mut alone, &row.tokens, past, &spec));
                    // Pages that were shared may be half full, and the first and the last one have room for other tokens.
                    let most = 2 * (WINDOW + BACK + count) + 2 * 32;
                    prop_assert!(!is_windowed || row.cache.capacity() <= most, "{}", row.cache.capacity());
                }
                Step::Rollback(row, count) => {
                    let row = &mut rows[row.index(3)];
                    // Not further than what is kept.
                    let least = if is_windowed { row.most.saturating_sub(BACK) } else { 0 };
                    let length = row.tokens.len().saturating_sub(count).max(least);
                    row.tokens.truncate(length);
                }
                Step::Fork(to, from) => rows[to.index(3)] = rows[from.index(3)].clone(),
                Step::Take(to, from, start, end) => {
                    let (to, from) = (to.index(3), from.index(3));
                    let pairs = rows[to].tokens.iter().zip(&rows[from].tokens);
                    let common = pairs.take_while(|(a, b)| a == b).count();
                    // Only rows that have forgotten nothing take tokens.
                    let keeps_all = [to, from].iter().all(|row| !is_windowed || rows[*row].most <= WINDOW);
                    if to != from && common > 0 && keeps_all {
                        let start = start.index(common);
                        let end = start + 1 + end.index(common - start);
                        let cache = rows[from].cache.clone();
                        prop_assert!(rows[to].cache.take_tokens(&cache, start..end));
                        rows[to].tokens = rows[from].tokens[..end].to_vec();
                        rows[to].most = rows[to].most.max(end);
                    }
                }
            }
        }
    }
}

#[test]
fn a_copy_takes_no_memory_for_what_it_shares() {
    let spec = spec(None);
    let mut cache = RowCache::default();
    let tokens: Vec<_> = (0..1_000).collect();
    feed(&mut cache, &tokens, 0, &spec);
    let mut copy = cache.clone();
    feed(&mut copy, &(0..1_001).collect::<Vec<_>>(), 1_000, &spec);
    assert_eq!(cache.shared(&copy), cache.capacity(), "the pages of the beginning");
    assert!(copy.capacity() - cache.capacity() < 200, "a page for the new token");
}

#[test]
fn a_row_that_is_forked_again_and_again_leaves_little_memory_unused() {
    let spec = spec(None);
    let tokens: Vec<_> = (0..4_000).collect();
    let (mut cache, mut forks) = (RowCache::default(), Vec::new());
    for end in (20..=tokens.len()).step_by(20) {
        feed(&mut cache, &tokens[..end], end - 20, &spec);
        forks.push(cache.clone());
    }
    assert!(cache.capacity() <= 3 * tokens.len(), "{}", cache.capacity());
}
