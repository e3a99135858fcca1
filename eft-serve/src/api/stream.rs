//! Answers in pieces, as server-sent events.
use std::collections::VecDeque;
use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use eft::Token;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{end_token, finish_reason, head, more, usage};
use super::error::ApiError;
use super::log_probs::{OfCompletion, Reported, of_chat};
use super::prepare::{Prepared, Protocol};
use crate::schedule::{End, Update};

/// The state of a stream.
struct Stream {
    prepared: Prepared,
    choices: Vec<Choice>,
    /// What can be sent.
    ready: VecDeque<String>,
    generated: usize,
    /// The texts that have not ended.
    left: usize,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

/// The state of one text.
struct Choice {
    begun: bool,
    log_probs: OfCompletion,
}

/// Waits for the first update, so that a refusal still has its status, and then answers in pieces.
pub(super) async fn respond(
    mut prepared: Prepared,
    permit: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    let first = match prepared.echo_only {
        true => None,
        false => match prepared.updates.recv().await {
            Some((_, Update::Failed(failure))) => {
                return Err(ApiError::failure(&failure, prepared.own_combination));
            }
            Some(update) => Some(update),
            None => return Err(ApiError::server("the decoding thread has stopped")),
        },
    };
    let choices = (0..prepared.texts()).map(|index| {
        let prompt = &prepared.prompts[index / prepared.samples];
        let before = if prepared.echo { prompt.text.chars().count() } else { 0 };
        Choice { begun: false, log_probs: OfCompletion::new(prepared.vocab.clone(), before) }
    });
    let (choices, left) = (choices.collect(), prepared.texts());
    let mut stream = Stream {
        prepared,
        choices,
        ready: VecDeque::new(),
        generated: 0,
        left,
        done: false,
        _permit: permit,
    };
    match first {
        Some((answer, update)) => stream.take(answer, update),
        None => stream.echo_prompts(),
    }
    let events = futures_util::stream::unfold(stream, |mut stream| async {
        let data = stream.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), stream))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

impl Stream {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Some(data);
            }
            if self.done {
                return None;
            }
            match self.prepared.updates.recv().await {
                Some((answer, update)) => self.take(answer, update),
                None => self.fail(&ApiError::server("the decoding thread has stopped")),
            }
        }
    }

    fn take(&mut self, answer: usize, update: Update) {
        if answer >= self.choices.len() {
            return;
        }
        match update {
            Update::Piece(piece) => {
                self.begin(answer);
                self.generated += piece.tokens.len();
                self.push(answer, Some(&piece.text), &piece.tokens, None);
            }
            Update::Finished(end) => {
                self.begin(answer);
                self.generated += end.tail.len();
                self.push(answer, None, &[], Some(&end));
                self.end_one();
            }
            Update::Failed(failure) => {
                self.fail(&ApiError::failure(&failure, self.prepared.own_combination));
            }
            Update::Scored(_) => {}
        }
    }

    /// Sends prompts without texts.
    fn echo_prompts(&mut self) {
        for answer in 0..self.choices.len() {
            self.begin(answer);
            let end = End { reason: crate::schedule::EndReason::Scored, tail: Vec::new() };
            self.push(answer, None, &[], Some(&end));
            self.end_one();
        }
    }

    /// Sends what comes before a text: its role, or the prompt.
    fn begin(&mut self, answer: usize) {
        if std::mem::replace(&mut self.choices[answer].begun, true) {
            return;
        }
        match self.prepared.protocol {
            Protocol::Chat => {
                let delta = json!({"role": "assistant", "content": "", "refusal": null});
                let choice =
                    json!({"index": answer, "delta": delta, "logprobs": null, "finish_reason": null});
                self.send(json!([choice]), None);
            }
            Protocol::Completions if self.prepared.echo => {
                let text = &self.prepared.prompts[answer / self.prepared.samples].text;
                let choice = json!({"index": answer, "text": text, "logprobs": null, "finish_reason": null});
                self.send(json!([choice]), None);
            }
            Protocol::Completions => {}
        }
    }

    fn push(&mut self, answer: usize, text: Option<&str>, tokens: &[Token], end: Option<&End>) {
        let reason = end.map(|end| finish_reason(&end.reason));
        let mut choice = json!({"index": answer, "logprobs": null, "finish_reason": reason});
        let of_end = if self.prepared.protocol == Protocol::Completions { end_token(end) } else { &[] };
        let most = self.prepared.log_probs.filter(|_| text.is_some() || !of_end.is_empty());
        match self.prepared.protocol {
            Protocol::Chat => {
                choice["delta"] = text.map_or_else(|| json!({}), |text| json!({"content": text}));
                if let Some(most) = most {
                    choice["logprobs"] = of_chat(&self.prepared.vocab, tokens, most);
                }
            }
            Protocol::Completions => {
                choice["text"] = text.unwrap_or_default().into();
                if let Some(most) = most {
                    let tokens = tokens.iter().chain(of_end);
                    let reported: Vec<_> = tokens.map(|token| Reported::generated(token, most)).collect();
                    choice["logprobs"] = self.choices[answer].log_probs.write(&reported, most > 0);
                }
            }
        }
        if let Some(more) = more(&self.prepared, tokens, end) {
            choice["eft"] = more;
        }
        self.send(json!([choice]), None);
    }

    fn send(&mut self, choices: Value, usage: Option<Value>) {
        let mut part = head(&self.prepared, true);
        part["choices"] = choices;
        if self.prepared.include_usage {
            part["usage"] = usage.unwrap_or(Value::Null);
        }
        self.ready.push_back(part.to_string());
    }

    fn end_one(&mut self) {
        self.left -= 1;
        if self.left > 0 {
            return;
        }
        if self.prepared.include_usage {
            let usage = usage(&self.prepared, self.generated);
            self.send(json!([]), Some(usage));
        }
        self.ready.push_back("[DONE]".into());
        self.done = true;
    }

    /// Ends the stream with an error, since its status has been sent.
    fn fail(&mut self, error: &ApiError) {
        tracing::warn!(id = self.prepared.id, "a stream ends with an error: {}", error.message());
        self.ready.push_back(error.json().to_string());
        self.done = true;
    }
}
