//! [`Server`]: a server that has been connected to.
use std::sync::Arc;

use eft_core::TokenId;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::{Client, Traffic, shorten};
use crate::kind::{Kind, read_tokens};
use crate::rows::Rows;
use crate::vocabulary;

/// The path of the list of models.
pub(crate) const MODELS: &str = "/v1/models";

/// A server that has been connected to, with the model that it runs. Clones share its connections.
///
/// ```no_run
/// use eft_backend_remote::Remote;
///
/// let server = Remote::connect("http://127.0.0.1:8000")?;
/// println!("{} at {} runs {}", server.kind(), server.url(), server.model());
/// if let Some(ids) = server.tokenize("How do magnets work?")? {
///     println!("{} tokens, of {:?} that a prompt can have", ids.len(), server.context());
/// }
/// # Ok::<(), eft_backend_remote::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    pub(crate) client: Arc<Client>,
    kind: Kind,
    model: String,
    context: Option<usize>,
    vocab_size: Option<usize>,
    /// What to ask for; the default if `None`.
    pub(crate) rows: Option<Rows>,
}

impl Server {
    pub(crate) fn connect(
        client: Client,
        kind: Option<Kind>,
        model: Option<String>,
        rows: Option<Rows>,
    ) -> Result<Self> {
        let answer = client.get(MODELS)?;
        let models = answer["data"].as_array();
        let models = models.ok_or_else(|| client.wrong(MODELS, "it has no list `data` of models"))?;
        let found = chosen(&client, models, model.as_deref())?;
        let kind = kind.unwrap_or_else(|| match found["owned_by"].as_str() {
            Some("vllm") => Kind::Vllm,
            Some("llamacpp") => Kind::LlamaServer,
            Some("sglang") => Kind::Sglang,
            _ => Kind::OpenAi,
        });
        if rows == Some(Rows::Whole) && !kind.tells_whole_rows() {
            let what = format!("telling whole rows of log-probs: it is used as an {kind}");
            return Err(Error::Unsupported { url: client.root().into(), what });
        }
        let number = |value: &Value| value.as_u64().map(|number| number as usize);
        let context = number(&found["max_model_len"]).or_else(|| number(&found["meta"]["n_ctx"]));
        Ok(Self {
            kind,
            model: name(found).unwrap_or_default().into(),
            context: context.map(|context| kind.longest_prompt(context)),
            vocab_size: number(&found["meta"]["n_vocab"]),
            rows,
            client: Arc::new(client),
        })
    }

    /// Returns the server's address.
    pub fn url(&self) -> &str {
        self.client.root()
    }

    /// Returns the kind of server.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the name of the model that is used.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Returns how many tokens a prompt can have; `None` if the server does not say.
    pub fn context(&self) -> Option<usize> {
        self.context
    }

    /// Returns how many tokens the model scores; `None` if the server does not say.
    pub fn vocab_size(&self) -> Option<usize> {
        self.vocab_size
    }

    /// Returns what has been exchanged with the server so far, by all clones and engines.
    pub fn traffic(&self) -> Traffic {
        self.client.counters().read()
    }

    /// Checks that an answer of this path is by the same model as before; `None` if it names none.
    pub(crate) fn check_model(&self, path: &str, now: Option<&str>) -> Result<()> {
        match now.filter(|now| *now != self.model) {
            Some(now) => {
                let (before, now) = (self.model.clone(), now.into());
                Err(Error::Swapped { url: self.client.url(path), before, now })
            }
            None => Ok(()),
        }
    }

    /// Returns the ids that the server makes of a text, without the tokens that begin a sequence; `None` if servers of
    /// this kind do not tokenize.
    ///
    /// # Errors
    /// * [`Error::Lost`], [`Error::Timeout`] or [`Error::Status`] if the server cannot be reached or refuses.
    /// * [`Error::Answer`] if the answer has no list of ids.
    pub fn tokenize(&self, text: &str) -> Result<Option<Vec<TokenId>>> {
        let Some((path, body)) = self.kind.tokenize(&self.model, text) else { return Ok(None) };
        let answer = self.client.post(path, &body)?;
        read_tokens(&answer).map(Some).map_err(|reason| self.client.wrong(path, reason))
    }

    /// Compares the ids that the server and `tokenize` make of some texts in several scripts, with spaces, digits,
    /// line breaks and special tokens, and returns how many were compared: none if the server does not tokenize.
    ///
    /// `tokenize` should add no tokens that begin or end a sequence. `specials` are texts of special tokens to compare
    /// as well.
    ///
    /// # Errors
    /// * [`Error::Vocabulary`] for the first text whose ids differ.
    /// * The errors of [`tokenize`](Self::tokenize), and those of the argument `tokenize`.
    pub fn check_vocabulary(
        &self,
        specials: &[String],
        tokenize: impl Fn(&str) -> eft_core::Result<Vec<TokenId>>,
    ) -> Result<usize> {
        let mut compared = 0;
        for text in vocabulary::probes(specials) {
            let Some(there) = self.tokenize(&text)? else { return Ok(0) };
            let here = tokenize(&text)?;
            if here != there {
                return Err(Error::Vocabulary { url: self.url().into(), text, here, there });
            }
            compared += 1;
        }
        Ok(compared)
    }
}

/// The entry of the list of models that has this name, or the only one.
fn chosen<'a>(client: &Client, models: &'a [Value], wanted: Option<&str>) -> Result<&'a Value> {
    let found = match wanted {
        Some(wanted) => models.iter().find(|model| name(model) == Some(wanted)),
        None if models.len() == 1 => models.first(),
        None => None,
    };
    found.ok_or_else(|| {
        let names: Vec<_> = models.iter().filter_map(name).collect();
        let known = if names.is_empty() { "none".into() } else { shorten(&names.join(", ")) };
        Error::Model { url: client.root().into(), model: wanted.unwrap_or_default().into(), known }
    })
}

fn name(model: &Value) -> Option<&str> {
    model["id"].as_str()
}
