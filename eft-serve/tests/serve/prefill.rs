//! Long prompts are read in pieces.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eft::candle::Candle;
use eft::{Engine, EngineRow, EngineSpec, FnEngine, Opened, Result, RowFeed, Scores, Session, Source, Vocab};
use eft_serve::{Config, Models, Server};
use serde_json::json;

use crate::http::post;

/// An engine that remembers the most tokens it was asked to read in one pass.
struct Watched {
    inner: FnEngine<Candle>,
    most: Arc<AtomicUsize>,
}

struct WatchedSession {
    inner: Box<dyn Session<Backend = Candle>>,
    most: Arc<AtomicUsize>,
}

impl Engine for Watched {
    type Backend = Candle;

    fn spec(&self) -> &EngineSpec<Candle> {
        self.inner.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Candle>> {
        self.most.fetch_max(rows.iter().map(|row| row.tokens.len()).sum(), Ordering::SeqCst);
        let (inner, scores) = self.inner.open(rows)?;
        Ok((Box::new(WatchedSession { inner, most: self.most.clone() }), scores))
    }
}

impl Session for WatchedSession {
    type Backend = Candle;

    fn rollback_limit(&self) -> Vec<usize> {
        self.inner.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.inner.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Candle>> {
        self.most.fetch_max(feed.iter().map(|feed| feed.tokens.len()).sum(), Ordering::SeqCst);
        self.inner.extend(feed)
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.inner.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.inner.select(rows)
    }
}

#[test]
fn the_first_prompts_of_a_batch_are_read_in_pieces_too() {
    let spec = EngineSpec::new("model", Candle::cpu(), Vocab::new("ab", ["a", "b"]).unwrap());
    let inner = FnEngine::new(spec, |row| Ok(vec![row.tokens.len() as f32 % 2.0, 0.5]));
    let most = Arc::new(AtomicUsize::new(0));
    let model = Source::new(Watched { inner, most: most.clone() });
    let mut config = Config::empty();
    (config.server.port, config.limits.prefill) = (0, 20);
    let server = Server::with_models(Models::of(("model", model), []), &config).unwrap();
    let url = format!("http://{}/v1/completions", server.address());
    let prompts: Vec<_> = (0..4).map(|index| vec![index % 2; 90 + index]).collect();
    let body = json!({"model": "model", "prompt": prompts, "temperature": 0, "max_tokens": 3});
    assert_eq!(post(&url, body).ok()["choices"].as_array().unwrap().len(), 4);
    let most = most.load(Ordering::SeqCst);
    assert!((1..=40).contains(&most), "{most} tokens in one pass");
}
