//! The prompts of a request.
use eft::{Message, Prompt};

use super::body::{Body, Content, MessageBody, PromptBody};
use super::error::ApiError;
use super::tools;

/// The conversation of a request, with the tools that the model may call.
pub(super) fn with_tools(body: &mut Body) -> Result<Prompt, ApiError> {
    let conversation = conversation(body.messages.take())?;
    Ok(match tools::given(body)? {
        Some(tools) => tools::with(conversation, &tools),
        None => conversation,
    })
}

/// The conversation of a request.
pub(super) fn conversation(messages: Option<Vec<MessageBody>>) -> Result<Prompt, ApiError> {
    let messages = messages.ok_or_else(|| ApiError::field("messages", "is missing"))?;
    if messages.is_empty() {
        return Err(ApiError::field("messages", "has no messages"));
    }
    let messages = messages.into_iter().enumerate().map(|(index, of)| message(index, of));
    Ok(Prompt::Chat(messages.collect::<Result<_, _>>()?))
}

fn message(index: usize, body: MessageBody) -> Result<Message, ApiError> {
    let text = match body.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let mut text = String::new();
            for (part, of) in parts.into_iter().enumerate() {
                let at = || format!("messages[{index}].content[{part}]");
                match (of.r#type.as_str(), of.text) {
                    ("text", Some(part)) => text.push_str(&part),
                    ("text", None) => return Err(ApiError::field(at(), "has no `text`")),
                    (other, _) => {
                        let reason = format!("is of the type `{other}`; the models read text only");
                        return Err(ApiError::field(at(), reason));
                    }
                }
            }
            text
        }
    };
    // OpenAI's newer name of the same role.
    let role = if body.role == "developer" { "system".into() } else { body.role };
    let mut message = Message::new(role, text);
    if let Some(calls) = body.tool_calls.filter(|calls| !calls.is_none()) {
        message = message.field("tool_calls", tools::calls(&calls));
    }
    for (name, value) in [("tool_call_id", body.tool_call_id), ("name", body.name)] {
        if let Some(value) = value {
            message = message.field(name, serde_json::Value::from(value).to_string());
        }
    }
    Ok(message)
}

/// The prompts of a completion.
pub(super) fn prompts(body: Option<PromptBody>) -> Result<Vec<Prompt>, ApiError> {
    let prompts: Vec<Prompt> = match body {
        None => return Err(ApiError::field("prompt", "is missing")),
        Some(PromptBody::Text(text)) => vec![text.into()],
        Some(PromptBody::Tokens(ids)) => vec![ids.into()],
        Some(PromptBody::Texts(texts)) => texts.into_iter().map(Prompt::Text).collect(),
        Some(PromptBody::Lists(lists)) => lists.into_iter().map(Prompt::Tokens).collect(),
    };
    if prompts.is_empty() {
        return Err(ApiError::field("prompt", "has no prompts"));
    }
    let empty = |prompt: &Prompt| matches!(prompt, Prompt::Tokens(ids) if ids.is_empty());
    match prompts.iter().position(empty) {
        Some(index) => Err(ApiError::field("prompt", format!("prompt {index} has no tokens"))),
        None => Ok(prompts),
    }
}
