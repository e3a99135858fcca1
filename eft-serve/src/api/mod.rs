//! The HTTP interface: OpenAI's protocol, and what goes beyond it.
//!
//! | Path | Answer |
//! | --- | --- |
//! | `GET /` | a page to play on |
//! | `GET /health`, `GET /metrics` | whether the server runs; what it counts, as Prometheus reads it |
//! | `GET /v1/models` | the models and combinations |
//! | `POST /v1/chat/completions` | an answer in a conversation |
//! | `POST /v1/completions` | a text that follows a prompt, or the log-probs of a given text |
//! | `POST /tokenize`, `POST /detokenize` | token ids of a text, and the text of token ids |
mod answer;
mod auth;
mod body;
mod complete;
mod eft_fields;
mod error;
mod log_probs;
mod prepare;
mod processors;
mod prompts;
mod status;
mod stream;
mod tokens;
mod tools;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::config::{Config, Defaults, Limits};
use crate::metrics::Metrics;
use crate::models::Models;
use crate::schedule::{DraftCopy, Scheduler};

pub use body::Body as RequestBody;

/// What all requests share.
pub struct App {
    pub(crate) models: Models,
    pub(crate) scheduler: Scheduler,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) defaults: Defaults,
    pub(crate) limits: Limits,
    /// The key that requests must bring.
    pub(crate) key: Option<String>,
    pub(crate) log_prompts: bool,
    /// When the server was started, in seconds since 1970.
    pub(crate) started: u64,
    /// One for each request that may be answered at once.
    pub(crate) permits: Arc<Semaphore>,
}

impl App {
    /// What requests to these models share. The thread that decodes is started.
    ///
    /// # Errors
    /// Any error of the operating system.
    pub fn new(models: Models, config: &Config, key: Option<String>) -> std::io::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let &Limits { rows, queue, prefill, cached_tokens, .. } = &config.limits;
        let drafted_rows = config.speculation.rows;
        let limits = crate::schedule::Limits { rows, queue, prefill, cached_tokens, drafted_rows };
        let draft = config.speculation.draft.as_ref().and_then(|name| {
            let copy = models.model(name)?.clone();
            Some(DraftCopy { copy, of: config.others_with_path_of(name) })
        });
        Ok(Self {
            scheduler: Scheduler::start(limits, draft, metrics.clone())?,
            models,
            metrics,
            defaults: config.defaults.clone(),
            limits: config.limits.clone(),
            key,
            log_prompts: config.server.log_prompts,
            started: now(),
            permits: Arc::new(Semaphore::new(config.limits.requests)),
        })
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.limits.seconds)
    }
}

/// Returns the routes of a server.
pub fn router(app: Arc<App>) -> Router {
    let limit = app.limits.body_bytes;
    Router::new()
        .route("/", get(status::page))
        .route("/health", get(status::health))
        .route("/metrics", get(status::metrics))
        .route("/v1/models", get(status::models))
        .route("/v1/models/{*model}", get(status::model))
        .route("/v1/chat/completions", post(complete::chat))
        .route("/v1/completions", post(complete::completions))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .fallback(status::not_found)
        .method_not_allowed_fallback(status::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), auth::check))
        .layer(DefaultBodyLimit::max(limit))
        .with_state(app)
}

/// The seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Reads and checks a request as the server does, and returns the status with which it would be refused, or 200. For tests
/// of the parser.
#[doc(hidden)]
#[must_use]
pub fn status_of_request(app: &App, chat: bool, body: &[u8]) -> u16 {
    let protocol = if chat { prepare::Protocol::Chat } else { prepare::Protocol::Completions };
    prepare::prepare(app, protocol, body).map_or_else(|error| error.status.as_u16(), |_| 200)
}
