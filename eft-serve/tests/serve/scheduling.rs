//! Queueing, cancelling, deadlines and stopping, with a model that waits for the test.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eft::candle::Candle;
use eft::{Vocab, from_fn};
use eft_serve::{Config, Models, Server};
use serde_json::{Value, json};

use crate::http::{Answer, get, metric, post};

/// A model that computes only while its gate is open, and fails at prompts that begin with token 2.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open.
    pub(crate) fn pass(&self) {
        self.0.2.fetch_add(1, Ordering::SeqCst);
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap());
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }

    pub(crate) fn server(&self, change: impl FnOnce(&mut Config)) -> Server {
        let gate = self.clone();
        let vocab = Vocab::new("abc", ["a", "b", "c"]).unwrap();
        let model = from_fn(Candle::cpu(), vocab, move |tokens| {
            gate.pass();
            match tokens[0] {
                2 => Err(eft::Error::source("the model", "it was told to fail")),
                _ => Ok(vec![0.0, tokens.len() as f32 % 2.0, 0.5]),
            }
        });
        let mut config = Config::empty();
        config.server.port = 0;
        change(&mut config);
        Server::with_models(Models::of(("model", model), []), &config).unwrap()
    }
}

pub(crate) fn until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} is not reached");
        thread::sleep(Duration::from_millis(2));
    }
}

fn body(prompt: u32, tokens: usize) -> Value {
    json!({"model": "model", "prompt": [prompt], "temperature": 0, "max_tokens": tokens})
}

fn ask(url: &str, body: Value) -> JoinHandle<Answer> {
    let url = format!("{url}/v1/completions");
    thread::spawn(move || post(&url, body))
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let gate = Gate::default();
    let server = gate.server(|config| (config.limits.rows, config.limits.queue) = (1, 1));
    let url = format!("http://{}", server.address());
    let first = ask(&url, body(0, 3));
    until("the first step", || gate.calls() > 0);
    let second = ask(&url, body(0, 3));
    until("the queue", || metric(&url, "eft_queue_jobs") == 1.0);
    let third = ask(&url, body(0, 3)).join().unwrap();
    third.refused(429);
    assert!(third.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // What never fits is not asked to come back.
    let both = json!({"model": "model", "prompt": [[0], [1]]});
    assert_eq!(ask(&url, both).join().unwrap().refused(400), "prompt");
    gate.open();
    let (first, second) = (first.join().unwrap().ok(), second.join().unwrap().ok());
    assert_eq!(first["choices"], second["choices"]);
    assert_eq!(metric(&url, "eft_refused_requests_total"), 1.0);
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let gate = Gate::default();
    let server = gate.server(|config| (config.limits.rows, config.limits.tokens) = (1, 1 << 30));
    let url = format!("http://{}", server.address());
    gate.open();
    for stream in [true, false] {
        let before = metric(&url, "eft_cancelled_texts_total");
        let mut body = body(0, 1 << 29);
        body["stream"] = stream.into();
        let text = body.to_string();
        let mut client = TcpStream::connect(server.address()).unwrap();
        write!(
            client,
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .unwrap();
        if stream {
            let mut part = [0; 600];
            client.read_exact(&mut part).unwrap();
            assert!(part.starts_with(b"HTTP/1.1 200"));
        } else {
            let calls = gate.calls();
            until("some steps", || gate.calls() > calls + 3);
        }
        drop(client);
        until("the cancellation", || metric(&url, "eft_cancelled_texts_total") == before + 1.0);
        until("the end", || metric(&url, "eft_running_rows") == 0.0);
    }
    // The only place is free again.
    assert_eq!(ask(&url, body(0, 3)).join().unwrap().status, 200);
}

#[test]
fn time_that_is_up_ends_texts_with_what_there_is() {
    let gate = Gate::default();
    let server = gate.server(|config| (config.limits.rows, config.limits.seconds) = (1, 0.05));
    let url = format!("http://{}", server.address());
    let begun = ask(&url, body(0, 50));
    until("the first step", || gate.calls() > 0);
    let waiting = ask(&url, body(0, 50));
    until("the queue", || metric(&url, "eft_queue_jobs") == 1.0);
    thread::sleep(Duration::from_millis(60));
    gate.open();
    let begun = begun.join().unwrap().ok();
    let choice = &begun["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["eft"]["ended_by"]),
        (&json!("length"), &json!("deadline"))
    );
    assert!(begun["usage"]["completion_tokens"].as_u64().unwrap() < 50);
    let waiting = waiting.join().unwrap();
    waiting.refused(504);
}

#[test]
fn a_server_that_stops_answers_with_what_there_is() {
    let gate = Gate::default();
    let server = gate.server(|config| {
        (config.limits.tokens, config.server.drain_seconds) = (1 << 30, 0.0);
    });
    let url = format!("http://{}", server.address());
    gate.open();
    let endless = ask(&url, body(0, 1 << 29));
    until("some steps", || gate.calls() > 3);
    server.stop();
    let answer = endless.join().unwrap().ok();
    assert_eq!(answer["choices"][0]["eft"]["ended_by"], "shutdown");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    assert!(ureq::get(format!("{url}/health")).call().is_err());
}

#[test]
fn what_runs_may_end_by_itself_after_the_server_was_told_to_stop() {
    let gate = Gate::default();
    let server = gate.server(|_| {});
    let url = format!("http://{}", server.address());
    let running = ask(&url, body(0, 5));
    until("the first step", || gate.calls() > 0);
    let stopping = thread::spawn(move || server.stop());
    gate.open();
    let answer = running.join().unwrap().ok();
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    stopping.join().unwrap();
}

#[test]
fn a_row_that_fails_fails_alone() {
    let gate = Gate::default();
    let server = gate.server(|_| {});
    let url = format!("http://{}", server.address());
    let first = ask(&url, body(0, 6));
    until("the first step", || gate.calls() > 0);
    let (second, bad) = (ask(&url, body(1, 6)), ask(&url, body(2, 6)));
    until("the queue", || metric(&url, "eft_queue_jobs") == 2.0);
    gate.open();
    let text = |answer: Answer| answer.ok()["choices"][0]["text"].as_str().unwrap().to_owned();
    let (first, second) = (text(first.join().unwrap()), text(second.join().unwrap()));
    let failed = bad.join().unwrap();
    assert_eq!(failed.status, 500, "{}", failed.text);
    assert!(failed.text.contains("it was told to fail"), "{}", failed.text);
    let alone = |prompt| text(ask(&url, body(prompt, 6)).join().unwrap());
    assert_eq!([first, second], [alone(0), alone(1)]);
    assert!(metric(&url, "eft_joined_rows_total") > 0.0);
}

#[test]
fn a_text_that_is_attributed_shares_the_batch_of_the_others() {
    let gate = Gate::default();
    let server = gate.server(|_| {});
    let url = format!("http://{}", server.address());
    let attributed = || {
        let mut body = body(1, 6);
        body["eft"] = json!({"attribution": true});
        body
    };
    let plain = ask(&url, body(0, 6));
    until("the first step", || gate.calls() > 0);
    let beside = ask(&url, attributed());
    until("the queue", || metric(&url, "eft_queue_jobs") == 1.0);
    gate.open();
    let (plain, beside) = (plain.join().unwrap().ok(), beside.join().unwrap().ok());
    assert_eq!(metric(&url, "eft_joined_rows_total"), 1.0);
    let alone = |body| ask(&url, body).join().unwrap().ok()["choices"].clone();
    assert_eq!([&plain["choices"], &beside["choices"]], [&alone(body(0, 6)), &alone(attributed())]);
    let of_text = beside["choices"][0]["eft"]["attribution"].as_array().unwrap();
    assert_eq!((of_text.len(), of_text[0]["terms"][0]["name"].as_str()), (6, Some("model")));
    assert_eq!(plain["choices"][0].get("eft"), None);
}

#[test]
fn a_client_that_does_not_read_stops_nobody() {
    let gate = Gate::default();
    let server = gate.server(|config| config.limits.tokens = 200_000);
    let url = format!("http://{}", server.address());
    gate.open();
    let mut body_of_slow = body(0, 200_000);
    body_of_slow["stream"] = true.into();
    let text = body_of_slow.to_string();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    write!(slow, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    until("some steps", || gate.calls() > 3);
    for _ in 0..5 {
        assert_eq!(ask(&url, body(1, 8)).join().unwrap().ok()["usage"]["completion_tokens"], 8);
    }
    assert!(metric(&url, "eft_cancelled_texts_total") == 0.0);
    drop(slow);
    until("the cancellation", || metric(&url, "eft_cancelled_texts_total") == 1.0);
}

#[test]
fn a_model_that_panics_leaves_no_request_waiting() {
    let vocab = Vocab::new("ab", ["a", "b"]).unwrap();
    let model = from_fn(Candle::cpu(), vocab, |_| -> eft::Result<Vec<f32>> { panic!("on purpose") });
    let mut config = Config::empty();
    config.server.port = 0;
    let server = Server::with_models(Models::of(("model", model), []), &config).unwrap();
    let url = format!("http://{}", server.address());
    assert_eq!(get(&format!("{url}/health")).status, 200);
    assert_eq!(ask(&url, body(0, 3)).join().unwrap().status, 500);
    assert_eq!(ask(&url, body(0, 3)).join().unwrap().status, 503);
    assert_eq!(get(&format!("{url}/health")).status, 503);
}

#[test]
fn a_model_that_panics_over_a_text_that_is_scored_leaves_no_half_answer() {
    let vocab = Vocab::new("ab", ["a", "b"]).unwrap();
    let model = from_fn(Candle::cpu(), vocab, |tokens| match tokens.len() {
        0..3 => Ok(vec![0.0, 1.0]),
        _ => panic!("on purpose"),
    });
    let mut config = Config::empty();
    (config.server.port, config.limits.prefill) = (0, 1);
    let server = Server::with_models(Models::of(("model", model), []), &config).unwrap();
    let url = format!("http://{}", server.address());
    let mut body = body(0, 0);
    (body["prompt"], body["echo"], body["logprobs"]) = (json!([0, 1, 1, 0, 1]), json!(true), json!(0));
    assert_eq!(ask(&url, body).join().unwrap().status, 500);
}
