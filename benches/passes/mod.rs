//! Forward passes of our engines, which the other programs measure in the same way.
#![allow(dead_code, reason = "each benchmark uses a part")]
pub(crate) mod adapter;
pub(crate) mod memory;

use std::path::Path;
use std::time::Instant;

use eft::candle::{CacheType, Candle, CandleNn, Gguf};
use eft::models::{Checkpoint, DecoderEngine};
use eft::{Backend, Engine, EngineRow, Result, RowFeed, Session, TokenId};

/// A forward pass over some rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// The tokens in the cache of each row.
    pub(crate) past: usize,
    /// The tokens that each row is fed.
    pub(crate) new: usize,
    /// For how many of these, from the last, logits are wanted.
    pub(crate) wanted: usize,
    pub(crate) rows: usize,
    /// How often the pass is repeated.
    pub(crate) count: usize,
}

impl Pass {
    /// One row's pass.
    pub(crate) const fn new(past: usize, new: usize, wanted: usize, count: usize) -> Self {
        Self { past, new, wanted, rows: 1, count }
    }

    /// The request for it to another program.
    pub(crate) fn command(&self) -> String {
        let Self { past, new, wanted, rows, count } = self;
        format!("pass {past} {new} {wanted} {rows} {count}")
    }
}

/// One of our engines. The session of the last pass is kept for the next with the same tokens in the cache.
pub(crate) struct Ours<B: Backend> {
    pub(crate) engine: Box<dyn Engine<Backend = B>>,
    held: Option<([usize; 2], Box<dyn Session<Backend = B>>)>,
}

impl<B: Backend> Ours<B> {
    pub(crate) fn new(engine: impl Engine<Backend = B> + 'static) -> Self {
        Self { engine: Box::new(engine), held: None }
    }

    /// Returns the seconds of each pass.
    pub(crate) fn run(&mut self, pass: &Pass) -> Result<Vec<f64>> {
        if pass.past == 0 {
            self.held = None;
            return (0..pass.count).map(|_| self.prefill(pass)).collect();
        }
        let key = [pass.past, pass.rows];
        if self.held.as_ref().is_none_or(|(held, _)| *held != key) {
            self.held = None;
            let rows: Vec<_> = (0..pass.rows).map(|row| prompt(row, pass.past)).collect();
            self.held = Some((key, self.engine.open(&rows)?.0));
        }
        let session = &mut self.held.as_mut().expect("a session was opened").1;
        let feed = |row| RowFeed {
            tokens: ids(row, pass.past + pass.new)[pass.past..].to_vec(),
            wanted: pass.wanted,
        };
        let feeds: Vec<_> = (0..pass.rows).map(feed).collect();
        let one = |_| {
            let start = Instant::now();
            std::hint::black_box(session.extend(&feeds)?);
            let seconds = start.elapsed().as_secs_f64();
            session.rollback(&vec![pass.new; pass.rows])?;
            Ok(seconds)
        };
        (0..pass.count).map(one).collect()
    }

    fn prefill(&self, pass: &Pass) -> Result<f64> {
        let rows: Vec<_> = (0..pass.rows).map(|row| prompt(row, pass.new)).collect();
        let start = Instant::now();
        std::hint::black_box(self.engine.open(&rows)?);
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Loads a GGUF file or a folder, to run by candle.
pub(crate) fn by_candle(model: &Path) -> Ours<Candle> {
    by_candle_with(model, CacheType::F32)
}

/// The same with keys and values in this type.
pub(crate) fn by_candle_with(model: &Path, cache_type: CacheType) -> Ours<Candle> {
    let nn = CandleNn::new(Candle::cpu()).cache_type(cache_type);
    if model.is_dir() {
        Ours::new(DecoderEngine::load(nn, &Checkpoint::open(model).unwrap(), None).unwrap())
    } else {
        let gguf = Gguf::open(model).unwrap();
        Ours::new(DecoderEngine::load(nn, &gguf, gguf.vocab().cloned()).unwrap())
    }
}

/// The same tokens as in the other programs.
pub(crate) fn ids(row: usize, count: usize) -> Vec<TokenId> {
    (0..count as TokenId).map(|i| (7 * i * i + 13 * row as TokenId + 3) % 3000 + 10).collect()
}

pub(crate) fn prompt(row: usize, past: usize) -> EngineRow {
    EngineRow { adapter: None, tokens: ids(row, past) }
}
