//! [`ApiError`]: an error in the form of OpenAI's protocol.
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use eft::error::with_sources;
use serde_json::{Value, json};

use crate::models::Unresolved;
use crate::schedule::{Failure, Refused};

/// An answer that says why a request has none.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, param: None, message: message.into(), retry_after: None }
    }

    /// A request that is wrong.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A request with a field that is wrong.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = field.into();
        Self { message: format!("`{field}`: {}", message.into()), param: Some(field), ..Self::bad("") }
    }

    /// A request that another status describes better than 400.
    pub(crate) fn status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::bad(message).with_status(status)
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// A failure of the server.
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// Too many requests at once.
    pub(crate) fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { retry_after: Some(retry_after), ..error }.code("rate_limit_exceeded")
    }

    /// The server stops.
    pub(crate) fn stopping() -> Self {
        let message = "the server is about to stop";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message).code("stopping")
    }

    /// An error of the models, at a request that may have a combination of its own.
    pub(crate) fn models(error: &eft::Error, own_combination: bool) -> Self {
        use eft::Error as E;

        let message = with_sources(error);
        match error {
            E::ContextFull { .. } => Self::bad(message).code("context_length_exceeded"),
            E::RowFailed { source, .. } => Self::models(source, own_combination),
            E::StopIdCut { .. }
            | E::StopIdOutOfRange { .. }
            | E::TokenOutOfRange { .. }
            | E::EditOutOfRange { .. }
            | E::EmptyPrompt { .. }
            | E::CannotRender { .. }
            | E::InvalidParameter { .. }
            | E::InvalidWeight { .. }
            | E::NothingLeft { .. }
            | E::TooComplex { .. }
            | E::Unsupported { .. }
            | E::PartialRows { .. }
            | E::VocabMismatch { .. }
            | E::Formula(_) => Self::bad(message),
            E::BadScores { fault, .. } if own_combination || *fault == eft::Fault::NothingAllowed => {
                Self::bad(message)
            }
            _ => Self::server(message),
        }
    }

    /// Why a job failed.
    pub(crate) fn failure(failure: &Failure, own_combination: bool) -> Self {
        match failure {
            Failure::Models(error) => Self::models(error, own_combination),
            Failure::Deadline => {
                let message = "the time of the request was up before it was begun";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", message).code("timeout")
            }
            Failure::Shutdown => Self::stopping(),
        }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The error as the protocol writes it.
    pub(crate) fn json(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }

    pub(crate) fn into_response(self) -> Response {
        let mut response = super::json_response(self.status, &self.json());
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full { retry_after } => {
                Self::busy("too many prompts wait: try again later", retry_after)
            }
            Refused::Stopping => Self::stopping(),
        }
    }
}

impl Unresolved {
    pub(crate) fn into_error(self, model: &str) -> ApiError {
        match self {
            Self::NoModel(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("there is no model `{model}`; there are {}", names.join(", "));
                let error = ApiError::field("model", message).code("model_not_found");
                ApiError { status: StatusCode::NOT_FOUND, ..error }
            }
            Self::Field(field, reason) => ApiError::field(field, reason),
        }
    }
}
