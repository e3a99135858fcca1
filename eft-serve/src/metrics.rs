//! [`Metrics`]: what the server counts and measures, as Prometheus reads it.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What the server counts and measures.
pub struct Metrics {
    registry: Registry,
    /// Answered HTTP requests by path and status.
    pub(crate) requests: Family<Vec<(String, String)>, Counter>,
    /// Prompts that wait.
    pub(crate) waiting: Gauge,
    /// Texts that are being generated.
    pub(crate) rows: Gauge,
    /// Batches that are open.
    pub(crate) batches: Gauge,
    /// The rows of each step.
    pub(crate) step_rows: Histogram,
    /// Tokens of prompts.
    pub(crate) prompt_tokens: Counter,
    /// Tokens of prompts that the models have read to generate texts.
    pub(crate) prompt_tokens_read: Counter,
    /// Tokens of prompts that the models did not have to read for that, since they were in a cache.
    pub(crate) prompt_tokens_cached: Counter,
    /// Generated tokens.
    pub(crate) tokens: Counter,
    /// Tokens of given texts that have been scored.
    pub(crate) scored_tokens: Counter,
    /// Positions at which they have been scored: texts that begin alike share them.
    pub(crate) scored_positions: Counter,
    /// Tokens that were drafted.
    pub(crate) drafted: Counter,
    /// Drafted tokens that were accepted.
    pub(crate) accepted: Counter,
    /// Texts that were cancelled, because nobody waited for them any more.
    pub(crate) cancelled: Counter,
    /// Requests that were refused because the queue was full.
    pub(crate) refused: Counter,
    /// Rows that joined a batch that was running.
    pub(crate) joined: Counter,
    first_token: Histogram,
    duration: Histogram,
    /// How long the latest texts took on average, in microseconds.
    mean: AtomicU64,
}

/// The upper ends of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The upper ends of the buckets of numbers of rows.
const ROWS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

impl Metrics {
    /// Creates metrics of which nothing has been counted.
    #[must_use]
    pub fn new() -> Self {
        let seconds = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("eft"),
            requests: Family::default(),
            waiting: Gauge::default(),
            rows: Gauge::default(),
            batches: Gauge::default(),
            step_rows: Histogram::new(ROWS),
            prompt_tokens: Counter::default(),
            prompt_tokens_read: Counter::default(),
            prompt_tokens_cached: Counter::default(),
            tokens: Counter::default(),
            scored_tokens: Counter::default(),
            scored_positions: Counter::default(),
            drafted: Counter::default(),
            accepted: Counter::default(),
            cancelled: Counter::default(),
            refused: Counter::default(),
            joined: Counter::default(),
            first_token: seconds(),
            duration: seconds(),
            mean: AtomicU64::new(0),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("http_requests", "Answered HTTP requests", self.requests.clone());
        r.register("queue_jobs", "Prompts that wait", self.waiting.clone());
        r.register("running_rows", "Texts that are being generated", self.rows.clone());
        r.register("running_batches", "Batches that are open", self.batches.clone());
        r.register("step_rows", "Rows of a decoding step", self.step_rows.clone());
        r.register("prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        r.register(
            "prompt_tokens_read",
            "Tokens of prompts that models have read to generate texts; each model counts",
            self.prompt_tokens_read.clone(),
        );
        r.register(
            "prompt_tokens_cached",
            "Tokens of prompts that models had in a cache; each model counts",
            self.prompt_tokens_cached.clone(),
        );
        r.register("generated_tokens", "Generated tokens", self.tokens.clone());
        r.register("scored_tokens", "Tokens of given texts that were scored", self.scored_tokens.clone());
        r.register(
            "scored_positions",
            "Positions at which they were scored, which texts that begin alike share",
            self.scored_positions.clone(),
        );
        r.register("drafted_tokens", "Tokens that were drafted", self.drafted.clone());
        r.register("accepted_tokens", "Drafted tokens that were accepted", self.accepted.clone());
        r.register("cancelled_texts", "Texts that nobody waited for any more", self.cancelled.clone());
        r.register("refused_requests", "Requests refused because the queue was full", self.refused.clone());
        r.register("joined_rows", "Rows that joined a running batch", self.joined.clone());
        r.register(
            "first_token_seconds",
            "Time from a request to the first token of a text",
            self.first_token.clone(),
        );
        r.register("text_seconds", "Time from a request to the end of a text", self.duration.clone());
    }

    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    pub(crate) fn text(&self, after: Duration) {
        self.duration.observe(after.as_secs_f64());
        // Only the decoding thread writes it.
        let (mean, new) = (self.mean.load(Ordering::Relaxed), after.as_micros() as u64);
        let mean = if mean == 0 { new } else { mean - mean / 8 + new / 8 };
        self.mean.store(mean, Ordering::Relaxed);
    }

    /// How long the latest texts took on average, in seconds, from the request to the end.
    pub(crate) fn mean_seconds(&self) -> f64 {
        self.mean.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Returns all metrics in the text format of OpenMetrics, which Prometheus reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
