//! [`Remote`]: the settings for a server.
use std::time::Duration;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::http::{Client, HttpOptions, Key};
use crate::kind::Kind;
use crate::rows::Rows;
use crate::server::Server;

/// The most requests of one batch that run at the same time by default.
const PARALLEL: usize = 8;

/// How often a request is sent again by default.
const RETRIES: usize = 4;

/// The time in seconds that a request may take by default.
const TIMEOUT: u64 = 120;

/// The settings for a server that runs the large model. [`open`](Self::open) connects.
///
/// A url is the server's address, with or without the `/v1` of OpenAI's interface. A `#` and a name after it choose one
/// of the server's models, as in `http://host:8000/v1#org/model`; it can be left out if there is only one.
///
/// ```no_run
/// use std::time::Duration;
/// use eft_backend_remote::Remote;
/// use eft_core::{Host, Source, Vocab};
///
/// # fn vocab() -> eft_core::Result<Vocab> { Vocab::new("ab", ["a", "b"]) }
/// let server = Remote::vllm("https://host/v1#org/model")
///     .key_from("MY_API_KEY")
///     .timeout(Duration::from_secs(30))
///     .top(50)
///     .open()?;
/// let large = Source::new(server.engine(Host, vocab()?)?);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a remote does nothing until it is opened"]
pub struct Remote {
    url: String,
    kind: Option<Kind>,
    model: Option<String>,
    key: Option<String>,
    rows: Option<Rows>,
    http: HttpOptions,
}

impl Remote {
    /// Sets up a server whose kind is found out when it is opened, from its list of models.
    pub fn new(url: impl Into<String>) -> Self {
        let http =
            HttpOptions { timeout: Duration::from_secs(TIMEOUT), retries: RETRIES, parallel: PARALLEL };
        Self { url: url.into(), kind: None, model: None, key: None, rows: None, http }
    }

    /// Connects to a server of any kind with the default settings: short for `Remote::new(url).open()`.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn connect(url: impl Into<String>) -> Result<Server> {
        Self::new(url).open()
    }

    /// Sets up a vLLM server.
    pub fn vllm(url: impl Into<String>) -> Self {
        Self { kind: Some(Kind::Vllm), ..Self::new(url) }
    }

    /// Sets up a llama-server of llama.cpp.
    pub fn llama_server(url: impl Into<String>) -> Self {
        Self { kind: Some(Kind::LlamaServer), ..Self::new(url) }
    }

    /// Sets up an SGLang server.
    ///
    /// Its answers do not name the model, so a model that is swapped while it runs is not noticed.
    pub fn sglang(url: impl Into<String>) -> Self {
        Self { kind: Some(Kind::Sglang), ..Self::new(url) }
    }

    /// Sets up any server with OpenAI's completions (`/v1/completions`) that takes token ids and returns log-probs.
    pub fn openai(url: impl Into<String>) -> Self {
        Self { kind: Some(Kind::OpenAi), ..Self::new(url) }
    }

    /// Uses the server's model of this name, if the url does not name one.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Sends the key that this environment variable holds, as `Authorization: Bearer …`. By default none is sent.
    ///
    /// The key appears in no error and in no `Debug` output.
    pub fn key_from(mut self, variable: impl Into<String>) -> Self {
        self.key = Some(variable.into());
        self
    }

    /// Asks for the log-probs of the `k` likeliest tokens only. Combinations are then computed on the tokens that are
    /// known: see [`Form::Partial`](eft_core::Form::Partial), and [`ProvenSum`](crate::ProvenSum) for a proof that the
    /// others do not matter.
    ///
    /// By default whole rows are asked for where the server can tell them and the vocabulary has at most 8,192 tokens,
    /// and the 20 likeliest tokens elsewhere.
    pub fn top(mut self, k: usize) -> Self {
        self.rows = Some(Rows::Top(k));
        self
    }

    /// Asks for the log-probs of all tokens: about 30 to 80 bytes a token of the vocabulary cross the wire for each
    /// position.
    pub fn whole_rows(mut self) -> Self {
        self.rows = Some(Rows::Whole);
        self
    }

    /// Limits the time of each request, its repetitions and the pauses between them included; 120 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// Sets how often a request is sent again after the connection was lost, or the server answered with status 408,
    /// 429, 500, 502, 503, 504 or 529; 4 by default. All requests of this crate may be repeated, since they change
    /// nothing at the server. The pauses grow and are random, and are at least as long as the server asks for.
    pub fn retries(mut self, retries: usize) -> Self {
        self.http.retries = retries;
        self
    }

    /// Sets how many requests may run at the same time, one for each row of a batch; 8 by default.
    pub fn parallel(mut self, requests: usize) -> Self {
        self.http.parallel = requests.max(1);
        self
    }

    /// Connects: reads the key and the server's list of models, and chooses one.
    ///
    /// # Errors
    /// * [`Error::Url`] if the url is not that of a server.
    /// * [`Error::Key`] if the environment variable does not hold a key.
    /// * [`Error::Lost`], [`Error::Timeout`] or [`Error::Status`] if the server cannot be reached or refuses.
    /// * [`Error::Answer`] if its list of models cannot be read.
    /// * [`Error::Model`] if it has no model of the name, or several and none is named.
    /// * [`Error::Unsupported`] if whole rows are set and the kind of server cannot tell them, or no likeliest tokens
    ///   are asked for.
    pub fn open(self) -> Result<Server> {
        let Address { root, model } = Address::parse(&self.url)?;
        if self.rows == Some(Rows::Top(0)) {
            let what = "telling the log-probs of no token: ask for the likeliest one at least".into();
            return Err(Error::Unsupported { url: root, what });
        }
        let key = self.key.as_deref().map(|variable| Key::read(variable, &root)).transpose()?;
        let client = Client::new(root, key, self.http);
        Server::connect(client, self.kind, model.or(self.model), self.rows)
    }
}
