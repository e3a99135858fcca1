//! Many clients at once: every answer equals the one that the same request has alone.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eft_serve::Server;
use serde_json::{Value, json};

use crate::http::{get, post};
use crate::zoo;

/// The distinct requests.
const DISTINCT: usize = 40;

fn request(index: usize) -> Value {
    let names = ["Ada Brook", "Nora Abbot", "Olga Lane", "Ivo Marsh", "Nobody"];
    let (model, temperature) = (["eft", "large", "tuned"][index % 3], [0.0, 0.7, 1.3][index / 3 % 3]);
    let mut body = json!({
        "model": model,
        "messages": [{"role": "user", "content": format!("Where does {} live?", names[index % 5])}],
        "seed": index, "temperature": temperature, "max_tokens": 4 + index * 7 % 40,
    });
    match index % 8 {
        0 => body["presence_penalty"] = json!(0.5),
        1 => body["n"] = json!(2),
        2 => body["stop"] = json!(["."]),
        3 => body["logit_bias"] = json!({"14": -5}),
        4 if index.is_multiple_of(3) => body["eft"] = json!({"alpha": 0.5}),
        _ => {}
    }
    body
}

fn choices(answer: &Value) -> &Value {
    &answer["choices"]
}

/// Sends requests from several clients; every fifth leaves early and every tenth is wrong. Returns requests per second.
fn storm(clients: usize, requests: usize) -> f64 {
    let server = Server::start(&zoo()).expect("the server starts");
    let url = Arc::new(format!("http://{}/v1/chat/completions", server.address()));
    let alone: Vec<_> =
        (0..DISTINCT).map(|index| choices(&post(&url, request(index)).ok()).clone()).collect();
    let (alone, next, waits) =
        (Arc::new(alone), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let start = Instant::now();
    let client = |_| {
        let (url, alone, next, waits) = (url.clone(), alone.clone(), next.clone(), waits.clone());
        thread::spawn(move || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return;
                }
                let index = number * 17 % DISTINCT;
                match number % 10 {
                    9 => {
                        let mut body = request(index);
                        body["top_p"] = json!("high");
                        assert_eq!(post(&url, body).refused(400), "top_p");
                    }
                    3 | 6 => {
                        let impatient =
                            ureq::post(&*url).config().timeout_global(Some(Duration::from_millis(15)));
                        let impatient = impatient.build().header("Content-Type", "application/json");
                        // Whether it is in time does not matter.
                        let _ = impatient.send(request(index).to_string());
                    }
                    _ => {
                        let sent = Instant::now();
                        assert_eq!(
                            choices(&post(&url, request(index)).ok()),
                            &alone[index],
                            "request {index}"
                        );
                        waits.lock().unwrap().push(sent.elapsed());
                    }
                }
            }
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    let seconds = start.elapsed().as_secs_f64();
    let mut waits = waits.lock().unwrap();
    waits.sort();
    println!("{requests} requests in {seconds:.1} s; 95 % within {:?}", waits[waits.len() * 95 / 100]);
    let metrics = get(&format!("http://{}/metrics", server.address())).text;
    for line in metrics.lines().filter(|line| line.contains("joined") || line.contains("first_token_seconds"))
    {
        println!("{line}");
    }
    requests as f64 / seconds
}

#[test]
fn answers_do_not_depend_on_other_requests() {
    storm(8, 80);
}

/// By hand: `cargo test --release -p eft-serve --test serve -- --ignored --nocapture a_storm`.
#[test]
#[ignore = "keeps all cores busy, and prints a rate"]
fn a_storm() {
    println!("{:.1} requests a second", storm(64, 2000));
}
