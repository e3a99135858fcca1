//! Answers in one piece, and what answers in pieces share with them.
use axum::http::StatusCode;
use eft::Token;
use eft::decode::FinishReason;
use serde_json::{Value, json};

use super::error::ApiError;
use super::log_probs::{OfCompletion, Reported, attribution, of_chat};
use super::prepare::{Prepared, PreparedPrompt, Protocol};
use crate::schedule::{End, EndReason, Scored, Update};

/// One text, as far as it has been received.
#[derive(Default)]
struct Choice {
    text: String,
    tokens: Vec<Token>,
    end: Option<End>,
}

/// Waits for all updates, and makes the answer of them.
pub(super) async fn whole(prepared: &mut Prepared) -> Result<Value, ApiError> {
    let mut choices: Vec<Choice> = (0..prepared.texts()).map(|_| Choice::default()).collect();
    let mut scored: Vec<Vec<Scored>> = vec![Vec::new(); prepared.prompts.len()];
    while let Some((answer, update)) = prepared.updates.recv().await {
        let choice = choices.get_mut(answer);
        match (choice, update) {
            (_, Update::Failed(failure)) => {
                return Err(ApiError::failure(&failure, prepared.own_combination));
            }
            (Some(choice), Update::Piece(piece)) => {
                choice.text.push_str(&piece.text);
                choice.tokens.extend(piece.tokens);
            }
            (Some(choice), Update::Finished(end)) => choice.end = Some(end),
            (None, Update::Scored(tokens)) => scored[answer - prepared.texts()].extend(tokens),
            (None, Update::Finished(End { reason: EndReason::Deadline | EndReason::Shutdown, .. })) => {
                return Err(unscored());
            }
            (Some(_), Update::Scored(_)) | (None, Update::Piece(_) | Update::Finished(_)) => {}
        }
    }
    let is_scored = |prompt: usize| scored[prompt].len() + 1 >= prepared.prompts[prompt].tokens.len();
    let unscored = (0..scored.len()).any(|prompt| prepared.scores(prompt) && !is_scored(prompt));
    if unscored || !prepared.echo_only && choices.iter().any(|choice| choice.end.is_none()) {
        return Err(ApiError::server("the decoding thread has stopped"));
    }
    let generated: usize = choices.iter().map(|c| c.tokens.len() + tail(c.end.as_ref()).len()).sum();
    let choices = choices.into_iter().enumerate();
    let choices: Vec<_> = choices
        .map(|(index, choice)| json_choice(prepared, index, choice, &scored[index / prepared.samples]))
        .collect();
    let mut answer = head(prepared, false);
    answer["choices"] = choices.into();
    answer["usage"] = usage(prepared, generated);
    Ok(answer)
}

/// The log-probs of a prompt cannot be cut off, as a text can.
pub(super) fn unscored() -> ApiError {
    let message = "the time was up before the prompt was scored";
    ApiError::server(message).with_status(StatusCode::GATEWAY_TIMEOUT).code("timeout")
}

fn tail(end: Option<&End>) -> &[Token] {
    end.map_or(&[], |end| &end.tail)
}

/// The end-of-sequence token that ended a text. The log-probs of a completion report it, as those of vLLM do: clients that
/// ask for one token after a prompt, to have the prompt scored, take for granted that there is one.
pub(super) fn end_token(end: Option<&End>) -> &[Token] {
    match end {
        Some(End { reason: EndReason::Text(FinishReason::EndOfSequence(_)), tail }) => tail,
        _ => &[],
    }
}

fn json_choice(prepared: &Prepared, index: usize, choice: Choice, scored: &[Scored]) -> Value {
    let prompt = &prepared.prompts[index / prepared.samples];
    let reason = choice.end.as_ref().map_or(&EndReason::Scored, |end| &end.reason);
    let mut value = json!({"index": index, "finish_reason": finish_reason(reason), "logprobs": null});
    match prepared.protocol {
        Protocol::Chat => {
            value["message"] = json!({"role": "assistant", "content": choice.text, "refusal": null});
            if let Some(most) = prepared.log_probs {
                value["logprobs"] = of_chat(&prepared.vocab, &choice.tokens, most);
            }
        }
        Protocol::Completions => {
            let echoed = if prepared.echo { prompt.text.as_str() } else { "" };
            value["text"] = format!("{echoed}{}", choice.text).into();
            if let Some(most) = prepared.log_probs {
                let reported = of_prompt(prepared, prompt, scored);
                let generated = choice.tokens.iter().chain(end_token(choice.end.as_ref()));
                let generated = generated.map(|token| Reported::generated(token, most));
                let reported: Vec<_> = reported.into_iter().chain(generated).collect();
                value["logprobs"] = OfCompletion::new(prepared.vocab.clone()).write(&reported, most > 0);
            }
        }
    }
    if let Some(more) = more(prepared, &choice.tokens, choice.end.as_ref()) {
        value["eft"] = more;
    }
    value
}

/// The tokens of a prompt with their log-probs, if it is echoed. The first token has none.
pub(super) fn of_prompt(prepared: &Prepared, prompt: &PreparedPrompt, scored: &[Scored]) -> Vec<Reported> {
    let first = prompt.tokens.first().filter(|_| prepared.echo).map(|id| Reported::first(*id));
    first.into_iter().chain(scored.iter().map(Reported::scored)).collect()
}

/// What goes beyond OpenAI's protocol: contributions of terms, and why a text was cut off.
pub(super) fn more(prepared: &Prepared, tokens: &[Token], end: Option<&End>) -> Option<Value> {
    let mut more = json!({});
    if prepared.attribution && !tokens.is_empty() {
        more["attribution"] = attribution(&prepared.vocab, tokens);
    }
    match end.map(|end| &end.reason) {
        Some(EndReason::Deadline) => more["ended_by"] = "deadline".into(),
        Some(EndReason::Shutdown) => more["ended_by"] = "shutdown".into(),
        _ => {}
    }
    more.as_object().is_some_and(|fields| !fields.is_empty()).then_some(more)
}

/// Why a text ended, in the words of the protocol.
pub(super) fn finish_reason(reason: &EndReason) -> &'static str {
    match reason {
        EndReason::Text(FinishReason::MaxTokens | FinishReason::ContextFull) => "length",
        EndReason::Text(_) => "stop",
        // A text that was cut off, or that is nothing but the prompt.
        EndReason::Deadline | EndReason::Shutdown | EndReason::Scored => "length",
    }
}

/// The fields of an answer or of a part of one.
pub(super) fn head(prepared: &Prepared, part: bool) -> Value {
    let object = match (prepared.protocol, part) {
        (Protocol::Chat, false) => "chat.completion",
        (Protocol::Chat, true) => "chat.completion.chunk",
        (Protocol::Completions, _) => "text_completion",
    };
    json!({
        "id": prepared.id, "object": object, "created": prepared.created, "model": prepared.model,
        "system_fingerprint": null,
    })
}

/// The tokens that were read and written.
pub(super) fn usage(prepared: &Prepared, generated: usize) -> Value {
    let prompt = prepared.prompt_tokens();
    json!({
        "prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated,
    })
}

/// Logs that a request has been answered.
pub(super) fn log_end(prepared: &Prepared, tokens: &dyn std::fmt::Display) {
    let seconds = prepared.submitted.elapsed().as_secs_f64();
    tracing::info!(id = prepared.id, %tokens, seconds, "answered");
}
