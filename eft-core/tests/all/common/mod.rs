//! Toy models: pure functions of the tokens so far, different enough that a test fails if two of them are confused.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eft_core::backend::score_rows;
use eft_core::{
    Backend, Engine, EngineRow, EngineSpec, Evaluator, FnEngine, Host, Opened, Prompt, Result, RowFeed,
    Scores, Session, Source, TokenId, Vocab,
};

pub(crate) const WIDTH: usize = 11;

/// A vocabulary of single letters; the last ends a text.
pub(crate) fn vocab(name: &str) -> Vocab {
    let letters = (0..WIDTH as u8).map(|i| vec![b'a' + i]);
    Vocab::new(name, letters).unwrap().with_eos([WIDTH as TokenId - 1]).unwrap()
}

/// Logits that depend on the last three tokens, on how many there are, and on the seed; about normal.
pub(crate) fn logits(seed: u64, tokens: &[TokenId], width: usize) -> Vec<f32> {
    let recent = tokens.iter().rev().take(3).fold(tokens.len() as u64, |h, t| mix(h ^ u64::from(*t)));
    (0..width as u64)
        .map(|id| {
            let uniform = |salt: u64| {
                (mix(mix(recent ^ seed.wrapping_mul(77)) ^ id ^ salt) >> 40) as f32 / (1 << 24) as f32
            };
            (0..4).map(|i| uniform(i << 32)).sum::<f32>() * 3.0 - 6.0
        })
        .collect()
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 31)
}

/// A toy model without adapters or a limited context.
pub(crate) fn model(name: &str, seed: u64) -> Source<Host> {
    eft_core::from_fn(Host, vocab(name), move |tokens| Ok(logits(seed, tokens, WIDTH)))
}

/// A toy model whose context holds `context` tokens.
pub(crate) fn short_model(name: &str, seed: u64, context: usize) -> Source<Host> {
    let spec = EngineSpec::new(name, Host, vocab(name)).context(context);
    Source::new(FnEngine::new(spec, move |row| Ok(logits(seed, &row.tokens, WIDTH))))
}

/// Counts of the work that an engine was asked to do.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passes: AtomicUsize,
    pub(crate) tokens: AtomicUsize,
    /// The most positions that one pass was asked to score, over all rows.
    pub(crate) most_scored: AtomicUsize,
    /// Rows that its session holds now.
    pub(crate) rows: AtomicUsize,
    /// The most rows that its session has held.
    pub(crate) most_rows: AtomicUsize,
}

impl Counts {
    pub(crate) fn take(&self) -> (usize, usize) {
        (self.passes.swap(0, Ordering::SeqCst), self.tokens.swap(0, Ordering::SeqCst))
    }

    fn hold(&self, rows: usize) {
        self.rows.store(rows, Ordering::SeqCst);
        self.most_rows.fetch_max(rows, Ordering::SeqCst);
    }
}

/// An engine around another that counts its passes and the tokens they take.
pub(crate) struct Counting<E> {
    pub(crate) inner: E,
    pub(crate) counts: Arc<Counts>,
}

struct CountingSession<B: Backend> {
    inner: Box<dyn Session<Backend = B>>,
    counts: Arc<Counts>,
}

impl<E: Engine> Engine for Counting<E> {
    type Backend = E::Backend;

    fn spec(&self) -> &EngineSpec<E::Backend> {
        self.inner.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<E::Backend>> {
        let tokens = rows.iter().map(|r| r.tokens.len()).sum();
        self.counts.passes.fetch_add(1, Ordering::SeqCst);
        self.counts.tokens.fetch_add(tokens, Ordering::SeqCst);
        self.counts.hold(rows.len());
        let (inner, scores) = self.inner.open(rows)?;
        Ok((Box::new(CountingSession { inner, counts: self.counts.clone() }), scores))
    }
}

impl<B: Backend> Session for CountingSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        let tokens = feed.iter().map(|f| f.tokens.len()).sum();
        self.counts.most_scored.fetch_max(feed.iter().map(|f| f.wanted).sum(), Ordering::SeqCst);
        self.counts.passes.fetch_add(1, Ordering::SeqCst);
        self.counts.tokens.fetch_add(tokens, Ordering::SeqCst);
        self.inner.extend(feed)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.inner.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.counts.hold(rows.len());
        self.inner.select(rows)
    }
}

/// A toy model with adapters, and the counts of its passes.
pub(crate) fn counted(name: &str, seed: u64, adapters: &[&str]) -> (Source<Host>, Arc<Counts>) {
    let spec = EngineSpec::new(name, Host, vocab(name)).adapters(adapters.iter().copied());
    let inner = FnEngine::new(spec, move |row| {
        Ok(logits(seed + 1000 * row.adapter.map_or(0, |a| a as u64 + 1), &row.tokens, WIDTH))
    });
    let counts = Arc::new(Counts::default());
    (Source::new(Counting { inner, counts: counts.clone() }), counts)
}

/// The score rows, in order.
pub(crate) fn values(scores: &Scores<Host>) -> Vec<Vec<f32>> {
    let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let values = Host.download(&rows, scores.width()).unwrap();
    values.chunks(scores.width()).map(<[f32]>::to_vec).collect()
}

/// The scores of a source after a prompt and more tokens.
pub(crate) fn scores_after(source: &Source<Host>, prompt: &[TokenId], tokens: &[TokenId]) -> Vec<f32> {
    let mut evaluator = Evaluator::open(&[source], &[Prompt::from(prompt)]).unwrap();
    evaluator.push(&[tokens.to_vec()]).unwrap();
    values(&evaluator.eval_last(0).unwrap()).remove(0)
}

/// The same, normalised.
pub(crate) fn log_probs_after(source: &Source<Host>, prompt: &[TokenId], tokens: &[TokenId]) -> Vec<f32> {
    let scores = scores_after(source, prompt, tokens);
    let tensor = Host.upload(&scores, scores.len()).unwrap();
    let normalised = Host.log_softmax(&score_rows(&tensor, 1), scores.len()).unwrap();
    Host.download(&score_rows(&normalised, 1), scores.len()).unwrap()
}

/// Asserts that entries agree within `tolerance`; equal infinities agree.
#[track_caller]
pub(crate) fn assert_near(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!(a == b || (a - b).abs() <= tolerance, "entry {i}: {a}, expected {b}");
    }
}

/// Settings for eight tokens, whatever they are.
pub(crate) fn endless(sampling: eft_core::Sampling) -> eft_core::Decoding {
    eft_core::Decoding::from(sampling).stop_ids([]).max_tokens(8)
}
