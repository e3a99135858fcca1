//! Clients that read a byte at a time, and clients that are killed: the others do not notice them.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use eft::candle::Candle;
use eft::{Vocab, from_fn};
use eft_serve::{Config, Models, Server};
use serde_json::{Value, json};

use crate::http::{metric, post};
use crate::scheduling::until;

/// A server of a model that never ends a text, and whose tokens are as long as `length` characters.
fn server(length: usize, change: impl FnOnce(&mut Config)) -> Server {
    let vocab = Vocab::new("abc", ["a", "b", "c"].map(|letter| letter.repeat(length))).unwrap();
    let model =
        from_fn(Candle::cpu(), vocab, |tokens| Ok(vec![tokens[0] as f32, tokens.len() as f32 % 3.0, 1.5]));
    let mut config = Config::empty();
    config.server.port = 0;
    change(&mut config);
    Server::with_models(Models::of(("model", model), []), &config).unwrap()
}

/// Sends a request whose answer is streamed, and reads nothing of it.
fn send(address: SocketAddr, mut body: Value) -> TcpStream {
    body["stream"] = json!(true);
    let text = body.to_string();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    client
}

fn body(prompt: usize, seed: usize, tokens: usize) -> Value {
    json!({"model": "model", "prompt": [prompt % 3], "seed": seed, "max_tokens": tokens})
}

#[test]
fn slow_and_killed_clients_do_not_change_what_others_get() {
    let server = server(50, |config| (config.limits.tokens, config.limits.rows) = (1 << 30, 24));
    let (address, url) = (server.address(), format!("http://{}", server.address()));
    let text = |seed: usize| {
        let answer = post(&format!("{url}/v1/completions"), body(seed, seed, 12)).ok();
        answer["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    let alone: Vec<_> = (0..12).map(text).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // They have asked for texts without end, and read one byte of each now and then.
        let mut slow: Vec<_> = (0..16).map(|seed| send(address, body(seed, seed, 1 << 29))).collect();
        until("the texts of slow clients", || metric(&url, "eft_running_rows") == 16.0);
        let done = &done;
        let reader = scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                for client in &mut slow {
                    assert_eq!(client.read(&mut [0]).unwrap(), 1);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let killer = scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                drop(send(address, body(1, 1, 1 << 29)));
                thread::sleep(Duration::from_millis(5));
            }
        });
        let clients: Vec<_> = (0..3)
            .map(|first| {
                let (text, alone) = (&text, &alone);
                scope.spawn(move || {
                    (first..12).step_by(3).for_each(|seed| assert_eq!(text(seed), alone[seed], "{seed}"))
                })
            })
            .collect();
        let answered: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
        killer.join().unwrap();
        answered.into_iter().for_each(|answered| answered.unwrap());
    });
    // Nothing is left of them.
    until("the cancellations", || metric(&url, "eft_cancelled_texts_total") >= 17.0);
    until("the end", || metric(&url, "eft_running_rows") == 0.0);
}

#[test]
fn who_does_not_read_keeps_a_place_for_a_limited_time() {
    let server = server(1000, |config| (config.limits.requests, config.limits.seconds) = (1, 0.5));
    let url = format!("http://{}/v1/completions", server.address());
    // More than the buffers of a connection hold: nothing is computed, but the prompt comes back ten times.
    let prompts = json!({"model": "model", "prompt": vec![0; 2000], "n": 10, "echo": true, "max_tokens": 0});
    let mut slow = send(server.address(), prompts);
    let mut head = [0; 12];
    slow.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    until("the place is free", || post(&url, body(0, 0, 1)).status == 200);
    drop(slow);
}
