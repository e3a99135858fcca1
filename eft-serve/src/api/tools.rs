//! Tools: what a conversation's model may call, as its chat template is told. A call in an answer is text.
use eft::Prompt;
use minijinja::Value;
use minijinja::value::ValueKind;

use super::App;
use super::body::Body;
use super::error::ApiError;
use crate::models::Source;

/// The field of a message with the tools of its conversation.
const FIELD: &str = "tools";

/// The tools of a request as JSON, unless it has none, or is not to use them.
pub(super) fn given(body: &mut Body) -> Result<Option<String>, ApiError> {
    let Some(tools) = body.tools.take().filter(|tools| !tools.is_empty()) else { return Ok(None) };
    if let Some(index) = tools.iter().position(|tool| tool.kind() != ValueKind::Map) {
        return Err(ApiError::field(format!("tools[{index}]"), "expected an object"));
    }
    match body.tool_choice.as_ref().map(|choice| choice.as_str()) {
        None | Some(Some("auto")) => Ok(Some(json(&Value::from(tools)))),
        Some(Some("none")) => Ok(None),
        Some(_) => {
            let reason = "the model decides for itself whether it calls a tool: expected `auto` or `none`";
            Err(ApiError::field("tool_choice", reason))
        }
    }
}

/// A conversation with tools, as JSON.
pub(super) fn with(conversation: Prompt, tools: &str) -> Prompt {
    match conversation {
        Prompt::Chat(mut messages) => {
            if let Some(message) = messages.pop() {
                messages.push(message.field(FIELD, tools));
            }
            Prompt::Chat(messages)
        }
        other => other,
    }
}

/// Checks that a model of the combination is told of the tools: most templates have no use for them.
pub(super) fn check(app: &App, source: &Source, prompt: &Prompt) -> Result<(), ApiError> {
    let Prompt::Chat(messages) = prompt else { return Ok(()) };
    let mut without = messages.clone();
    without.iter_mut().for_each(|message| message.fields.retain(|(name, _)| name != FIELD));
    if without == *messages {
        return Ok(());
    }
    let without = Prompt::Chat(without);
    for model in app.models.named_by(source) {
        let ids = |prompt: &Prompt| model.render(prompt).map_err(|error| ApiError::models(&error, true));
        if ids(prompt)? != ids(&without)? {
            return Ok(());
        }
    }
    let reason = format!("no chat template of the models of `{source}` has a use for tools");
    Err(ApiError::field(FIELD, reason))
}

/// The calls of an earlier answer as JSON. OpenAI's protocol writes their arguments as a string that holds JSON, and templates
/// read objects.
pub(super) fn calls(calls: &Value) -> String {
    let Ok(all) = calls.try_iter() else { return json(calls) };
    let call = |call: Value| {
        changed(&call, "function", |function| {
            changed(&function, "arguments", |arguments| {
                let parsed = arguments.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
                parsed.filter(|parsed| parsed.kind() == ValueKind::Map).unwrap_or(arguments)
            })
        })
    };
    match calls.kind() {
        ValueKind::Seq => json(&all.map(call).collect()),
        _ => json(calls),
    }
}

/// An object in which the entry of a name has been changed, if there is one.
fn changed(value: &Value, name: &str, change: impl Fn(Value) -> Value) -> Value {
    let entries =
        value.as_object().filter(|_| value.kind() == ValueKind::Map).and_then(|o| o.try_iter_pairs());
    let Some(entries) = entries else { return value.clone() };
    Value::from_pairs(entries.map(|(key, value)| {
        let value = if key.as_str() == Some(name) { change(value) } else { value };
        (key, value)
    }))
}

fn json(value: &Value) -> String {
    // What was read as JSON can be written as JSON.
    serde_json::to_string(value).unwrap_or_default()
}
