//! [`Kind`]: the kinds of servers, and how each is asked for log-probabilities.
mod llama_server;
mod openai;
mod sglang;
mod vllm;

use std::fmt;

use eft_core::{TokenId, Vocab};
use serde_json::{Value, json};

use crate::told::{Entries, Told, Wanted};
pub(crate) use openai::IdsByBytes;

/// A kind of server.
///
/// ```
/// use eft_backend_remote::Kind;
///
/// assert_eq!(Kind::LlamaServer.to_string(), "llama-server");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// vLLM: the likeliest tokens, whole rows, and named tokens, all by id.
    Vllm,
    /// llama-server of llama.cpp: the likeliest tokens and whole rows, by id.
    LlamaServer,
    /// SGLang: the likeliest tokens, whole rows, and named tokens, all by id.
    Sglang,
    /// Any server with OpenAI's completions: the likeliest tokens, by their text if it gives no ids.
    OpenAi,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vllm => "vLLM",
            Self::LlamaServer => "llama-server",
            Self::Sglang => "SGLang",
            Self::OpenAi => "OpenAI-compatible server",
        })
    }
}

/// A question for the log-probabilities after each of several prompts: one request.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) model: &'a str,
    /// Beginnings of one text, each a token longer than the one before.
    pub(crate) prompts: &'a [&'a [TokenId]],
    pub(crate) wanted: Wanted<'a>,
    pub(crate) vocab: &'a Vocab,
    pub(crate) ids: &'a IdsByBytes,
}

impl<'a> Question<'a> {
    /// The longest of the prompts, which contains the others.
    fn longest(&self) -> &'a [TokenId] {
        self.prompts.last().copied().unwrap_or_default()
    }
}

/// The answer for one prompt, with the place of the prompt in the request.
type Answer = (usize, Entries);

impl Kind {
    /// Whether the kind can score named tokens.
    pub(crate) fn names_tokens(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang)
    }

    /// Whether the kind can score all tokens.
    pub(crate) fn tells_whole_rows(self) -> bool {
        self != Self::OpenAi
    }

    /// The path and the body of a request.
    pub(crate) fn request(self, question: &Question<'_>) -> (&'static str, Value) {
        match self {
            Self::Vllm => ("/v1/completions", vllm::request(question)),
            Self::LlamaServer => ("/completion", llama_server::request(question)),
            Self::Sglang => ("/generate", sglang::request(question)),
            Self::OpenAi => ("/v1/completions", openai::request(question)),
        }
    }

    /// The name of the model that answered; `None` if the answer does not say, as SGLang's never does.
    pub(crate) fn model(self, answer: &Value) -> Option<&str> {
        // llama-server repeats it in the answer for each prompt.
        answer["model"].as_str().or_else(|| answer[0]["model"].as_str())
    }

    /// Reads an answer: what is told after each prompt, in their order. Errors describe the fault.
    pub(crate) fn read(self, answer: &Value, question: &Question<'_>) -> Result<Vec<Told>, String> {
        let found = match self {
            Self::Vllm => vllm::read(answer, question)?,
            Self::LlamaServer => llama_server::read(answer, question)?,
            Self::Sglang => sglang::read(answer, question)?,
            Self::OpenAi => openai::read(answer, question)?,
        };
        let mut ordered: Vec<_> = question.prompts.iter().map(|_| None).collect();
        for (index, entries) in found {
            match ordered.get_mut(index) {
                Some(place @ None) => *place = Some(entries),
                _ => {
                    let count = question.prompts.len();
                    return Err(format!(
                        "it answers prompt {index}, which is not one of {count} or answered twice"
                    ));
                }
            }
        }
        let (width, real) = (question.vocab.width(), question.vocab.real());
        let told = |(index, entries): (usize, Option<Entries>)| match entries {
            Some(entries) => Told::new(entries, question.wanted, width, real),
            None => Err(format!("it does not answer prompt {index} of {}", question.prompts.len())),
        };
        ordered.into_iter().enumerate().map(told).collect()
    }

    /// How many tokens a prompt can have, where prompt and continuation together can have `context`.
    pub(crate) fn longest_prompt(self, context: usize) -> usize {
        // One token is generated in each request. SGLang keeps six more places free.
        context.saturating_sub(if self == Self::Sglang { 7 } else { 1 })
    }

    /// The path and the body of a request to tokenize a text; `None` if the kind has none.
    pub(crate) fn tokenize(self, model: &str, text: &str) -> Option<(&'static str, Value)> {
        match self {
            Self::Vllm | Self::Sglang => {
                Some(("/tokenize", json!({"model": model, "prompt": text, "add_special_tokens": false})))
            }
            Self::LlamaServer => {
                Some(("/tokenize", json!({"content": text, "add_special": false, "parse_special": true})))
            }
            Self::OpenAi => None,
        }
    }
}

/// A token id in JSON.
fn token_id(value: &Value) -> Result<TokenId, String> {
    let id = value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    id.ok_or_else(|| format!("{value} is not a token id"))
}

/// A log-prob in JSON.
fn log_prob(value: &Value) -> Result<f32, String> {
    value.as_f64().map(|number| number as f32).ok_or_else(|| format!("{value} is not a log-prob"))
}

/// A list in JSON.
fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("it has no list `{name}`"))
}

/// The token ids that a server made of a text.
pub(crate) fn read_tokens(answer: &Value) -> Result<Vec<TokenId>, String> {
    list(&answer["tokens"], "tokens")?.iter().map(token_id).collect()
}
