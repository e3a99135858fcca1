//! What is asked about the server itself.
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;
use super::json_response;
use crate::models::Combination;

pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status) = match app.scheduler.is_running() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    json_response(code, &json!({"status": status, "version": env!("CARGO_PKG_VERSION")}))
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    typed("application/openmetrics-text; version=1.0.0; charset=utf-8", app.metrics.to_text())
}

pub(super) async fn page() -> Response {
    typed("text/html; charset=utf-8", include_str!("page.html"))
}

fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) async fn models(State(app): State<Arc<App>>) -> Response {
    let data: Vec<_> = app.models.served().map(|(name, served)| described(&app, name, &served)).collect();
    json_response(StatusCode::OK, &json!({"object": "list", "data": data}))
}

pub(super) async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match app.models.served().find(|(served, _)| *served == name) {
        Some((name, served)) => json_response(StatusCode::OK, &described(&app, name, &served)),
        None => {
            let error = ApiError::status(StatusCode::NOT_FOUND, format!("there is no model `{name}`"));
            error.code("model_not_found").into_response()
        }
    }
}

fn described(app: &App, name: &str, served: &Combination) -> Value {
    json!({
        "id": name, "object": "model", "created": app.started, "owned_by": "eft",
        "eft": {"formula": served.formula, "numbers": served.numbers},
    })
}

pub(super) async fn not_found() -> Response {
    ApiError::status(StatusCode::NOT_FOUND, "there is nothing at this path").code("not_found").into_response()
}

pub(super) async fn method_not_allowed() -> Response {
    let message = "this path has another method";
    ApiError::status(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_allowed").into_response()
}
