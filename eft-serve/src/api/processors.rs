//! The processors that a request asks for: penalties, biases, grammars.
use std::sync::Arc;

use eft::sample::{FrequencyPenalty, History, LogitBias, PresencePenalty, Processor, RepetitionPenalty};
use eft::{Edit, TokenId};

use super::App;
use super::body::{Body, ResponseFormat};
use super::error::ApiError;
use crate::models::Source;

/// A penalty that also counts the tokens of the prompt.
struct WithPrompt(RepetitionPenalty, Vec<TokenId>);

impl Processor for WithPrompt {
    fn edits(&self, history: &History<'_>) -> eft::Result<Vec<Edit>> {
        self.0.edits(&history.with_prompt(&self.1))
    }
}

/// The processors for texts that follow a prompt of these tokens.
pub(super) fn processors(
    app: &App,
    body: &Body,
    source: &Source,
    prompt: &[TokenId],
) -> Result<Vec<Arc<dyn Processor>>, ApiError> {
    let mut list: Vec<Arc<dyn Processor>> = Vec::new();
    if let Some(penalty) = body.repetition_penalty.filter(|penalty| *penalty != 1.0) {
        let made = RepetitionPenalty::new(penalty).map_err(|e| field("repetition_penalty", &e))?;
        list.push(Arc::new(WithPrompt(made, prompt.to_vec())));
    }
    if let Some(penalty) = within("presence_penalty", body.presence_penalty)? {
        list.push(Arc::new(PresencePenalty::new(penalty).map_err(|e| field("presence_penalty", &e))?));
    }
    if let Some(penalty) = within("frequency_penalty", body.frequency_penalty)? {
        list.push(Arc::new(FrequencyPenalty::new(penalty).map_err(|e| field("frequency_penalty", &e))?));
    }
    if let Some(bias) = body.logit_bias.as_ref().filter(|bias| !bias.is_empty()) {
        let limit = source.vocab().real();
        let one = |(id, bias): (&String, &f32)| {
            let at = || format!("logit_bias.{id}");
            let token: TokenId =
                id.parse().map_err(|_| ApiError::field(at(), "the name of an entry must be a token id"))?;
            if token as usize >= limit {
                let reason = format!("there is no such token; ids are below {limit}");
                return Err(ApiError::field(at(), reason));
            }
            match (-100.0..=100.0).contains(bias) {
                true => Ok((token, *bias)),
                false => Err(ApiError::field(at(), format!("is {bias}, but must be between -100 and 100"))),
            }
        };
        let biases = bias.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        list.push(Arc::new(LogitBias::new(biases).map_err(|e| field("logit_bias", &e))?));
    }
    if let Some(format) = body.response_format.as_ref().filter(|format| format.r#type != "text") {
        list.push(grammar(app, format, source)?);
    }
    Ok(list)
}

/// A penalty in OpenAI's range; 0 is none.
fn within(name: &'static str, penalty: Option<f32>) -> Result<Option<f32>, ApiError> {
    match penalty {
        Some(penalty) if !(-2.0..=2.0).contains(&penalty) => {
            Err(ApiError::field(name, format!("is {penalty}, but must be between -2 and 2")))
        }
        penalty => Ok(penalty.filter(|penalty| *penalty != 0.0)),
    }
}

/// An error of a setting.
pub(super) fn field(name: &str, error: &eft::Error) -> ApiError {
    match error {
        eft::Error::InvalidParameter { value, expected, .. } => {
            ApiError::field(name, format!("is {value}, but must be {expected}"))
        }
        error => ApiError::field(name, eft::error::with_sources(error)),
    }
}

#[cfg(not(feature = "grammar"))]
fn grammar(_: &App, format: &ResponseFormat, _: &Source) -> Result<Arc<dyn Processor>, ApiError> {
    let reason = format!(
        "`{}` is not supported: this server was built without the feature `grammar`, and writes text only",
        format.r#type
    );
    Err(ApiError::field("response_format", reason))
}

#[cfg(feature = "grammar")]
fn grammar(app: &App, format: &ResponseFormat, source: &Source) -> Result<Arc<dyn Processor>, ApiError> {
    let schema = match (format.r#type.as_str(), &format.json_schema) {
        ("json_object", _) => serde_json::json!({"type": "object"}).to_string(),
        ("json_schema", Some(schema)) => schema.schema.to_string(),
        ("json_schema", None) => {
            return Err(ApiError::field("response_format.json_schema", "is missing"));
        }
        (other, _) => {
            let reason = format!("is `{other}`, but must be `text`, `json_object` or `json_schema`");
            return Err(ApiError::field("response_format.type", reason));
        }
    };
    let refused =
        |error: eft::grammar::Error| ApiError::field("response_format", eft::error::with_sources(&error));
    app.models.grammars.json_schema(source, app.models.tokenizer(), &schema).map_err(refused)
}
