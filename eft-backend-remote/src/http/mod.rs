//! The HTTP client: JSON over connections that are kept open, with repetitions and a time limit.
mod key;
mod message;
mod retry;
mod traffic;

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use ureq::{Agent, Body, http::Response};

use crate::error::{Error, Result};
pub(crate) use key::Key;
pub(crate) use message::shorten;
use retry::{Failure, wait};
pub(crate) use traffic::Counters;
pub use traffic::Traffic;

/// The largest answer that is read, in bytes: a guard against a server that never stops sending.
const LARGEST_ANSWER: u64 = 1 << 29;

/// How long a connection may take to be made, in seconds, before another try.
const CONNECT: u64 = 10;

/// The settings of a client.
#[derive(Debug, Clone)]
pub(crate) struct HttpOptions {
    /// The time that a request may take, its repetitions included.
    pub(crate) timeout: Duration,
    /// How often a request that failed is sent again.
    pub(crate) retries: usize,
    /// How many requests may run at the same time.
    pub(crate) parallel: usize,
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    root: String,
    key: Option<Key>,
    options: HttpOptions,
    counters: Counters,
}

impl Client {
    pub(crate) fn new(root: String, key: Option<Key>, options: HttpOptions) -> Self {
        let connect = Duration::from_secs(CONNECT).min(options.timeout);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A key must not follow a redirect, and no engine redirects these requests.
            .max_redirects(0)
            .timeout_connect(Some(connect))
            .max_idle_connections(options.parallel)
            .max_idle_connections_per_host(options.parallel)
            .user_agent(concat!("eft/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), root, key, options, counters: Counters::default() }
    }

    /// The address of the server.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// How many requests may run at the same time.
    pub(crate) fn parallel(&self) -> usize {
        self.options.parallel
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The url of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// The error of an answer of this path that is not what the engine's interface promises.
    pub(crate) fn wrong(&self, path: &str, reason: impl Into<String>) -> Error {
        Error::Answer { url: self.url(path), reason: reason.into() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.call(path, None)
    }

    /// Posts JSON. The request may be sent several times, so it must be one that changes nothing at the server.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(path, Some(body.to_string().into_bytes()))
    }

    fn call(&self, path: &str, body: Option<Vec<u8>>) -> Result<Value> {
        let (url, began) = (self.url(path), Instant::now());
        let left = || self.options.timeout.saturating_sub(began.elapsed());
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.once(&url, body.as_deref(), left()) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = tries <= self.options.retries;
            match wait(&failure, tries).filter(|_| again) {
                // Waiting longer than the time limit cannot help.
                Some(pause) if pause < left() => std::thread::sleep(pause),
                _ => return Err(self.error(url, failure, tries, left().is_zero())),
            }
            self.counters.retried();
        }
    }

    /// Sends a request once.
    fn once(&self, url: &str, body: Option<&[u8]>, left: Duration) -> Result<Value, Failure> {
        let authorization = self.key.as_ref().map(Key::header);
        self.counters.sent(body.map_or(0, <[u8]>::len));
        let answered = match body {
            None => {
                let request = self.agent.get(url).config().timeout_global(Some(left)).build();
                match authorization {
                    Some(value) => request.header(AUTHORIZATION, value).call(),
                    None => request.call(),
                }
            }
            Some(body) => {
                let request = self.agent.post(url).config().timeout_global(Some(left)).build();
                let request = request.header(CONTENT_TYPE, "application/json");
                match authorization {
                    Some(value) => request.header(AUTHORIZATION, value).send(body),
                    None => request.send(body),
                }
            }
        };
        let mut response = answered.map_err(Failure::of)?;
        let answer = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let answer = answer.map_err(Failure::of)?;
        self.counters.received(answer.len());
        match response.status().as_u16() {
            200 => serde_json::from_slice(&answer).map_err(|error| Failure::NotJson(error.to_string())),
            status => Err(Failure::Status {
                status,
                message: message::of_engine(&answer, self.key.as_ref()),
                retry_after: retry_after(&response),
            }),
        }
    }

    fn error(&self, url: String, failure: Failure, tries: usize, over: bool) -> Error {
        match failure {
            Failure::Status { status, message, .. } => Error::Status { url, status, tries, message },
            Failure::NotJson(reason) => Error::Answer { url, reason: format!("it is not JSON: {reason}") },
            Failure::TooLarge => {
                Error::Answer { url, reason: format!("it has more than {LARGEST_ANSWER} bytes") }
            }
            Failure::Lost(source)
                if !over && !matches!(source, ureq::Error::Timeout(ureq::Timeout::Global)) =>
            {
                Error::Lost { url, tries, source: source.into() }
            }
            Failure::Lost(source) => {
                let seconds = self.options.timeout.as_secs_f64();
                Error::Timeout { url, seconds, tries, last: source.to_string() }
            }
            Failure::Refused(source) => Error::Lost { url, tries, source: source.into() },
        }
    }
}

/// How long the server asks to wait, if it does.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    retry::parse_retry_after(response.headers().get(RETRY_AFTER)?.to_str().ok()?)
}
