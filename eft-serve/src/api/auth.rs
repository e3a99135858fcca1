//! The check of keys, and the count of answers.
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::App;
use super::error::ApiError;

/// The paths that need no key.
const OPEN: [&str; 2] = ["/", "/health"];

/// The paths that are counted by their names.
const COUNTED: [&str; 8] = [
    "/",
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/tokenize",
    "/detokenize",
];

/// Lets a request with the right key through, and counts its answer.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let counted = COUNTED.iter().find(|known| **known == path).unwrap_or(&"other");
    let allowed = OPEN.contains(&path) || app.key.as_deref().is_none_or(|key| brings(request.headers(), key));
    let response = match allowed {
        true => next.run(request).await,
        false => {
            let message = "the header `Authorization` has no key of this server: `Bearer KEY`";
            ApiError::status(StatusCode::UNAUTHORIZED, message).code("invalid_api_key").into_response()
        }
    };
    let labels = [("path", (*counted).to_owned()), ("status", response.status().as_str().to_owned())];
    let labels: Vec<_> = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    app.metrics.requests.get_or_create(&labels).inc();
    response
}

/// Whether the headers have this key. The time that this takes does not depend on where keys differ.
fn brings(headers: &HeaderMap, key: &str) -> bool {
    let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let (scheme, given) = value.split_at_checked("Bearer ".len()).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(key.as_bytes()))
}
