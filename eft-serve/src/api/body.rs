//! [`Body`]: the fields of a request, of both protocols. Unknown fields are ignored.
use std::collections::BTreeMap;

use minijinja::Value as Ordered;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;

/// The body of a request for a conversation or a completion.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Body {
    pub(crate) model: Option<String>,
    pub(crate) messages: Option<Vec<MessageBody>>,
    pub(crate) prompt: Option<PromptBody>,
    pub(crate) n: Option<usize>,
    pub(crate) best_of: Option<usize>,
    pub(crate) stop: Option<Stops>,
    pub(crate) seed: Option<i64>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) logit_bias: Option<BTreeMap<String, f32>>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) max_completion_tokens: Option<usize>,
    pub(crate) logprobs: Option<LogProbs>,
    pub(crate) top_logprobs: Option<usize>,
    pub(crate) echo: Option<bool>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) response_format: Option<ResponseFormat>,
    pub(crate) suffix: Option<String>,
    pub(crate) tools: Option<Vec<Ordered>>,
    pub(crate) tool_choice: Option<Value>,
    pub(crate) functions: Option<Vec<Value>>,
    pub(crate) eft: Option<BTreeMap<String, Value>>,
}

/// A message of a conversation.
#[derive(Debug, Deserialize)]
pub(crate) struct MessageBody {
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) content: Option<Content>,
    #[serde(default)]
    pub(crate) tool_calls: Option<Ordered>,
    #[serde(default)]
    pub(crate) tool_call_id: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// What a message says.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, or a list of parts of the type `text`")]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) r#type: String,
    #[serde(default)]
    pub(crate) text: Option<String>,
}

/// One prompt or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, a list of strings, a list of token ids, or a list of such lists")]
pub(crate) enum PromptBody {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    Lists(Vec<Vec<u32>>),
}

/// Where texts end.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub(crate) enum Stops {
    One(String),
    Several(Vec<String>),
}

/// `true` or `false` in conversations, a number of alternatives in completions.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "true or false for a conversation, a number for a completion")]
pub(crate) enum LogProbs {
    Flag(bool),
    Count(usize),
}

/// Options of streaming.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

/// What texts follow.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseFormat {
    pub(crate) r#type: String,
    #[serde(default)]
    #[cfg_attr(not(feature = "grammar"), expect(dead_code, reason = "only read by builds with grammars"))]
    pub(crate) json_schema: Option<JsonSchema>,
}

/// A JSON Schema.
#[derive(Debug, Deserialize)]
pub(crate) struct JsonSchema {
    #[cfg_attr(not(feature = "grammar"), expect(dead_code, reason = "only read by builds with grammars"))]
    pub(crate) schema: Value,
}

/// Reads a request; errors name the field at fault.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner().to_string());
        match path.as_str() {
            "." | "?" => ApiError::bad(format!("the body is not a request in JSON: {reason}")),
            _ => ApiError::field(path, reason),
        }
    })?;
    reader.end().map_err(|error| ApiError::bad(format!("the body is not JSON: {error}")))?;
    Ok(value)
}
