//! Token ids of texts, and texts of token ids.
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{MessageBody, parse};
use super::complete::{json_body, on_thread, permit};
use super::error::ApiError;
use super::prompts::conversation;
use super::{App, json_response};

#[derive(Deserialize)]
#[serde(default)]
struct TokenizeBody {
    prompt: Option<String>,
    messages: Option<Vec<MessageBody>>,
    add_special_tokens: bool,
}

impl Default for TokenizeBody {
    fn default() -> Self {
        Self { prompt: None, messages: None, add_special_tokens: true }
    }
}

#[derive(Deserialize)]
struct DetokenizeBody {
    tokens: Vec<u32>,
}

pub(super) async fn tokenize(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond(app, &headers, body, |app, bytes| {
        let body: TokenizeBody = parse(bytes)?;
        let tokens = match (body.prompt, body.messages) {
            (Some(text), None) if body.add_special_tokens => app.models.render(text),
            (Some(text), None) => app.models.continuation(&text),
            (None, Some(messages)) => app.models.render(conversation(Some(messages))?),
            _ => return Err(ApiError::bad("give either `prompt` or `messages`")),
        };
        let tokens = tokens.map_err(|error| ApiError::models(&error, true))?;
        let vocab = app.models.vocab();
        let texts = tokens.iter().map(|id| String::from_utf8_lossy(vocab.bytes(*id).unwrap_or_default()));
        Ok(json!({"tokens": tokens, "count": tokens.len(), "token_strs": texts.collect::<Vec<_>>()}))
    })
    .await
}

pub(super) async fn detokenize(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond(app, &headers, body, |app, bytes| {
        let body: DetokenizeBody = parse(bytes)?;
        let vocab = app.models.vocab();
        if let Some(index) = body.tokens.iter().position(|id| *id as usize >= vocab.real()) {
            let reason = format!("is no token; ids are below {}", vocab.real());
            return Err(ApiError::field(format!("tokens[{index}]"), reason));
        }
        Ok(json!({"prompt": String::from_utf8_lossy(&vocab.decode(&body.tokens))}))
    })
    .await
}

async fn respond(
    app: Arc<App>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    answer: fn(&App, &[u8]) -> Result<Value, ApiError>,
) -> Response {
    let read = permit(&app).and_then(|permit| Ok((permit, json_body(&app, headers, body)?)));
    let answer = match read {
        Ok((_permit, bytes)) => on_thread(app, move |app| answer(app, &bytes)).await,
        Err(error) => Err(error),
    };
    match answer.and_then(|answer| answer) {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err(error) => error.into_response(),
    }
}
