//! Requests for conversations and completions.
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use super::prepare::{Prepared, Protocol, prepare};
use super::{App, answer, json_response, stream};

pub(super) async fn chat(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond(app, Protocol::Chat, &headers, body).await.unwrap_or_else(ApiError::into_response)
}

pub(super) async fn completions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond(app, Protocol::Completions, &headers, body).await.unwrap_or_else(ApiError::into_response)
}

async fn respond(
    app: Arc<App>,
    protocol: Protocol,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let bytes = json_body(&app, headers, body)?;
    let permit = permit(&app)?;
    let mut prepared = on_thread(app.clone(), move |app| prepare(app, protocol, &bytes)).await??;
    app.metrics.prompt_tokens.inc_by(prepared.prompt_tokens() as u64);
    log(&app, &prepared);
    app.scheduler.submit(std::mem::take(&mut prepared.jobs))?;
    if prepared.stream {
        return stream::respond(prepared, permit, app.log_prompts).await;
    }
    let answer = answer::whole(&mut prepared).await?;
    answer::log_end(&prepared, &answer["usage"]["completion_tokens"]);
    if app.log_prompts {
        tracing::info!(id = prepared.id, answer = %answer["choices"], "texts");
    }
    Ok(json_response(StatusCode::OK, &answer))
}

fn log(app: &App, prepared: &Prepared) {
    let (prompts, prompt_tokens) = (prepared.prompts.len(), prepared.prompt_tokens());
    tracing::info!(id = prepared.id, model = prepared.model, prompts, prompt_tokens, "request");
    if app.log_prompts {
        for prompt in &prepared.prompts {
            tracing::info!(id = prepared.id, prompt = prompt.text, "prompt");
        }
    }
}

/// A place among the requests that are answered at once.
pub(super) fn permit(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    app.permits.clone().try_acquire_owned().map_err(|_| {
        app.metrics.refused.inc();
        ApiError::busy("too many requests are being answered", Duration::from_secs(1))
    })
}

/// Runs a computation of some length, such as that of a tokenizer, where it blocks no other request.
pub(super) async fn on_thread<T: Send + 'static>(
    app: Arc<App>,
    compute: impl FnOnce(&App) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || compute(&app)).await;
    done.map_err(|error| {
        tracing::error!("a request has failed: {error}");
        ApiError::server("the server failed at this request")
    })
}

/// The body of a request, which must be JSON. Asking for the type keeps pages of other sites, which may post plain text to
/// any address, from using the server.
pub(super) fn json_body(
    app: &App,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, ApiError> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "the header `Content-Type` must be `application/json`";
        return Err(ApiError::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    body.map_err(|rejection| {
        let status = rejection.into_response().status();
        let message = match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                format!("the body has more than {} bytes", app.limits.body_bytes)
            }
            _ => "the body could not be read".into(),
        };
        ApiError::status(status, message)
    })
}
