//! Answers in pieces, as server-sent events.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use eft::Token;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::{end_token, finish_reason, head, log_end, more, of_prompt, unscored, usage};
use super::error::ApiError;
use super::log_probs::{OfCompletion, Reported, of_chat};
use super::prepare::{Prepared, Protocol};
use crate::schedule::{End, EndReason, Scored, Update};

/// How many parts are handed on before the client has read them.
const AHEAD: usize = 8;

/// The state of a stream.
struct Stream {
    prepared: Prepared,
    choices: Vec<Choice>,
    /// For each prompt, its scores so far, if they are computed.
    prompts: Vec<Scores>,
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
    /// What has become of the text before the prompt could be sent.
    held: Vec<Update>,
    log_probs: OfCompletion,
    /// The text so far, if texts are logged.
    logged: Option<String>,
}

/// The scores of one prompt.
struct Scores {
    tokens: Vec<Scored>,
    complete: bool,
}

/// Waits until there is something to send, so that a refusal still has its status, and then answers in pieces.
pub(super) async fn respond(
    prepared: Prepared,
    permit: OwnedSemaphorePermit,
    log_texts: bool,
) -> Result<Response, ApiError> {
    let choice = |_| Choice {
        begun: false,
        held: Vec::new(),
        log_probs: OfCompletion::new(prepared.vocab.clone()),
        logged: log_texts.then(String::new),
    };
    let scores = |prompt| Scores { tokens: Vec::new(), complete: !prepared.scores(prompt) };
    let mut stream = Stream {
        choices: (0..prepared.texts()).map(choice).collect(),
        prompts: (0..prepared.prompts.len()).map(scores).collect(),
        ready: VecDeque::new(),
        generated: 0,
        left: prepared.texts(),
        done: false,
        prepared,
        _permit: permit,
    };
    for prompt in 0..stream.prompts.len() {
        stream.end_without_text(prompt);
    }
    while stream.ready.is_empty() {
        match stream.prepared.updates.recv().await {
            Some((_, Update::Failed(failure))) => {
                return Err(ApiError::failure(&failure, stream.prepared.own_combination));
            }
            Some((answer, update)) => stream.take(answer, update),
            None => return Err(ApiError::server("the decoding thread has stopped")),
        }
    }
    let (parts, read) = mpsc::channel(AHEAD);
    tokio::spawn(hand_on(stream, parts));
    let events = futures_util::stream::unfold(read, |mut read| async {
        let data = read.recv().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), read))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Hands the parts of a stream on as they are read, until the client leaves or its time is up. The stream ends then, and
/// another request may have its place.
async fn hand_on(mut stream: Stream, parts: mpsc::Sender<String>) {
    let (id, until) = (stream.prepared.id.clone(), stream.prepared.read_until);
    let handed_on = async move {
        loop {
            let part = tokio::select! {
                () = parts.closed() => return,
                part = stream.next() => part,
            };
            let Some(part) = part else { return };
            if parts.send(part).await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout_at(until.into(), handed_on).await.is_err() {
        tracing::warn!(id, "a stream is ended, since its client does not read it");
    }
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
        match update {
            Update::Failed(failure) => self.fail(&ApiError::failure(&failure, self.prepared.own_combination)),
            update if answer < self.choices.len() => self.take_text(answer, update),
            update => self.take_score(answer - self.choices.len(), update),
        }
    }

    fn take_text(&mut self, answer: usize, update: Update) {
        if !self.prompts[answer / self.prepared.samples].complete {
            self.choices[answer].held.push(update);
            return;
        }
        match update {
            Update::Piece(piece) => {
                self.begin(answer);
                self.generated += piece.tokens.len();
                if let Some(text) = &mut self.choices[answer].logged {
                    text.push_str(&piece.text);
                }
                self.push(answer, Some(&piece.text), &piece.tokens, None);
            }
            Update::Finished(end) => {
                self.begin(answer);
                self.generated += end.tail.len();
                self.push(answer, None, &[], Some(&end));
                self.end_one();
            }
            Update::Failed(_) | Update::Scored(_) => {}
        }
    }

    fn take_score(&mut self, prompt: usize, update: Update) {
        match update {
            Update::Scored(tokens) => self.prompts[prompt].tokens.extend(tokens),
            Update::Finished(End { reason: EndReason::Deadline | EndReason::Shutdown, .. }) => {
                self.fail(&unscored());
            }
            Update::Finished(_) => {
                self.prompts[prompt].complete = true;
                self.end_without_text(prompt);
                for answer in self.answers_to(prompt) {
                    for update in std::mem::take(&mut self.choices[answer].held) {
                        self.take_text(answer, update);
                    }
                }
            }
            Update::Piece(_) | Update::Failed(_) => {}
        }
    }

    fn answers_to(&self, prompt: usize) -> Range<usize> {
        prompt * self.prepared.samples..(prompt + 1) * self.prepared.samples
    }

    /// Sends a prompt that is answered alone, once its scores are known.
    fn end_without_text(&mut self, prompt: usize) {
        if !self.prepared.echo_only || !self.prompts[prompt].complete {
            return;
        }
        for answer in self.answers_to(prompt) {
            self.begin(answer);
            let end = End { reason: EndReason::Scored, tail: Vec::new() };
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
                let index = answer / self.prepared.samples;
                let prompt = &self.prepared.prompts[index];
                let log_probs = self.prepared.log_probs.map(|most| {
                    let reported = of_prompt(&self.prepared, prompt, &self.prompts[index].tokens);
                    self.choices[answer].log_probs.write(&reported, most > 0)
                });
                let choice = json!({
                    "index": answer, "text": prompt.text, "logprobs": log_probs, "finish_reason": null,
                });
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
        log_end(&self.prepared, &self.generated);
        for (index, choice) in self.choices.iter().enumerate().filter(|(_, choice)| choice.logged.is_some()) {
            tracing::info!(id = self.prepared.id, index, text = choice.logged, "text");
        }
    }

    /// Ends the stream with an error, since its status has been sent.
    fn fail(&mut self, error: &ApiError) {
        tracing::warn!(id = self.prepared.id, "a stream ends with an error: {}", error.message());
        self.ready.push_back(error.json().to_string());
        self.done = true;
    }
}
