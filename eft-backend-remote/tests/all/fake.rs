//! An HTTP server on loopback that speaks the interface of an engine, over a tiny model, and can be told to fail.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eft_backend_remote::{Kind, Remote};
use eft_core::TokenId;
use serde_json::{Value, json};

use crate::toy::{WIDTH, log_probs, tokenize, vocab, write};

/// The name of the fake's model.
pub(crate) const MODEL: &str = "org/toy";

/// A request that the fake has received.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) body: Value,
}

/// What the fake does with a request.
pub(crate) enum Reply {
    /// Answers as the engine does.
    Proper,
    /// Answers with this JSON.
    Json(Value),
    /// Answers with a status, further header lines, and a body.
    Status(u16, &'static str, &'static str),
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes one by one, with pauses, and closes the connection.
    Drip(Vec<u8>, Duration),
    /// Closes the connection.
    Drop,
    /// Keeps the connection open for this time, without a word.
    Silence(Duration),
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

struct Shared {
    kind: Kind,
    script: Box<Script>,
    stopped: AtomicBool,
    count: AtomicUsize,
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
}

pub(crate) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Fake {
    /// A server that never fails.
    pub(crate) fn proper(kind: Kind) -> Self {
        Self::new(kind, |_, _| Reply::Proper)
    }

    /// A server whose script decides what happens to each request, from the request and its number among those for
    /// log-probs and samples.
    pub(crate) fn new(kind: Kind, script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kind,
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let shared = serving.clone();
                std::thread::spawn(move || shared.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The settings for this server, with a short time limit.
    pub(crate) fn remote(&self) -> Remote {
        let remote = match self.shared.kind {
            Kind::Vllm => Remote::vllm(self.url()),
            Kind::LlamaServer => Remote::llama_server(self.url()),
            Kind::Sglang => Remote::sglang(self.url()),
            _ => Remote::openai(self.url()),
        };
        remote.timeout(Duration::from_secs(20))
    }

    /// The requests for log-probs and for samples that were received so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut reader) {
            let answered = ["/v1/completions", "/completion", "/generate"].contains(&&*request.path);
            let reply = match answered {
                true => {
                    self.requests.lock().unwrap().push(request.clone());
                    (self.script)(&request, self.count.fetch_add(1, Ordering::SeqCst))
                }
                false => Reply::Proper,
            };
            let answer = match reply {
                Reply::Proper => http(200, "", &proper(self.kind, &request).to_string()),
                Reply::Json(value) => http(200, "", &value.to_string()),
                Reply::Status(status, headers, body) => http(status, headers, body),
                Reply::Raw(bytes) => {
                    let _ = (&stream).write_all(&bytes);
                    return;
                }
                Reply::Drip(bytes, pause) => {
                    for byte in bytes {
                        if (&stream).write_all(&[byte]).is_err() {
                            return;
                        }
                        std::thread::sleep(pause);
                    }
                    return;
                }
                Reply::Drop => return,
                Reply::Silence(time) => {
                    std::thread::sleep(time);
                    return;
                }
            };
            if (&stream).write_all(&answer).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut headers) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// An answer in HTTP.
pub(crate) fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

/// What the engine answers.
pub(crate) fn proper(kind: Kind, request: &Request) -> Value {
    match &request.path[..] {
        "/v1/models" => {
            let owner = match kind {
                Kind::Vllm => "vllm",
                Kind::LlamaServer => "llamacpp",
                Kind::Sglang => "sglang",
                _ => "somebody",
            };
            let meta =
                if kind == Kind::LlamaServer { json!({"n_vocab": WIDTH, "n_ctx": 65}) } else { Value::Null };
            let longest = if kind == Kind::Sglang { 71 } else { 65 };
            json!({"data": [{"id": MODEL, "owned_by": owner, "max_model_len": longest, "meta": meta}]})
        }
        "/tokenize" => {
            let text = request.body["prompt"].as_str().or(request.body["content"].as_str()).unwrap();
            json!({"tokens": tokenize(text)})
        }
        "/v1/completions" if request.body["logprobs"].is_null() => sampled(kind, &request.body),
        "/generate" => generated(&request.body),
        _ => scored(kind, &request.body),
    }
}

pub(crate) fn prompts(body: &Value) -> Vec<Vec<TokenId>> {
    serde_json::from_value(body["prompt"].clone()).unwrap()
}

fn scored(kind: Kind, body: &Value) -> Value {
    let prompts = prompts(body);
    let of_prompt = |(index, prompt): (usize, &Vec<TokenId>)| {
        let row = log_probs(prompt, 1);
        let mut order: Vec<_> = (0..WIDTH as TokenId).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        let asked = body["n_probs"].as_i64().or(body["logprobs"].as_i64()).unwrap();
        let named: Vec<TokenId> =
            serde_json::from_value(body["logprob_token_ids"].clone()).unwrap_or_default();
        let best = order[0];
        order.truncate(if asked < 0 { WIDTH } else { asked as usize });
        if kind == Kind::Vllm && !named.is_empty() {
            order = named;
            // vLLM adds the token that it has generated.
            order.retain(|id| *id != best);
            order.push(best);
        }
        let told = order.iter().map(|id| (*id, row[*id as usize]));
        match kind {
            Kind::LlamaServer => {
                let told: Vec<_> =
                    told.map(|(id, log_prob)| json!({"id": id, "logprob": log_prob})).collect();
                json!({
                    "index": index, "model": MODEL, "tokens_evaluated": prompt.len(), "truncated": false,
                    "completion_probabilities": [{"id": best, "top_logprobs": told}],
                })
            }
            Kind::Vllm => {
                let told: Value =
                    told.map(|(id, log_prob)| (format!("token_id:{id}"), json!(log_prob))).collect();
                json!({"index": index, "logprobs": {"top_logprobs": [told]}})
            }
            _ => {
                let text = |id: TokenId| String::from_utf8(vocab().bytes(id).unwrap().to_vec()).unwrap();
                let told: Value = told.map(|(id, log_prob)| (text(id), json!(log_prob))).collect();
                json!({"index": index, "logprobs": {"top_logprobs": [told]}})
            }
        }
    };
    let mut answers: Vec<_> = prompts.iter().enumerate().map(of_prompt).collect();
    if kind == Kind::LlamaServer {
        return if answers.len() == 1 { answers.remove(0) } else { answers.into() };
    }
    // The order of the answers is free.
    answers.reverse();
    let length: usize = prompts.iter().map(Vec::len).sum();
    json!({"model": MODEL, "choices": answers, "usage": {"prompt_tokens": length}})
}

/// What SGLang answers: the log-probs at the end of one prompt, from one of its tokens on.
fn generated(body: &Value) -> Value {
    let tokens: Vec<TokenId> = serde_json::from_value(body["input_ids"].clone()).unwrap();
    let named: Option<Vec<TokenId>> = serde_json::from_value(body["token_ids_logprob"].clone()).unwrap();
    let told = |prefix: &[TokenId]| -> Value {
        let row = log_probs(prefix, 1);
        let mut ids: Vec<_> = (0..WIDTH as TokenId).collect();
        ids.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        ids.truncate(body["top_logprobs_num"].as_u64().unwrap_or(0) as usize);
        let ids = named.as_ref().unwrap_or(&ids);
        ids.iter().map(|id| json!([row[*id as usize], id, null])).collect()
    };
    let start = body["logprob_start_len"].as_i64().unwrap();
    let (mut read, mut within) = (Vec::new(), Vec::new());
    if start >= 0 {
        for place in start as usize..tokens.len() {
            let first = place == start as usize;
            let log_prob = log_probs(&tokens[..place], 1)[tokens[place] as usize];
            read.push(json!([if first { Value::Null } else { log_prob.into() }, tokens[place], null]));
            within.push(if first { Value::Null } else { told(&tokens[..place]) });
        }
    }
    let kind = if named.is_some() { "token_ids" } else { "top" };
    let mut meta =
        json!({"prompt_tokens": tokens.len(), "completion_tokens": 1, "input_token_logprobs": read});
    meta[format!("input_{kind}_logprobs")] = within.into();
    meta[format!("output_{kind}_logprobs")] = json!([told(&tokens)]);
    json!({"text": "", "output_ids": [0], "meta_info": meta})
}

/// What a server answers that is asked for sampled text.
fn sampled(kind: Kind, body: &Value) -> Value {
    let prompt = body["prompt"].as_str().map(tokenize);
    let prompt = prompt.unwrap_or_else(|| serde_json::from_value(body["prompt"].clone()).unwrap());
    let number = |name: &str| body[name].as_u64().unwrap();
    let temperature = body["temperature"].as_f64().unwrap();
    let mut tokens = 0;
    let mut of = |index: u64| {
        let written = write(&prompt, number("seed") + index, temperature, number("max_tokens") as usize);
        tokens += written.tokens;
        let reason = if written.ended { "stop" } else { "length" };
        json!({"index": index, "text": written.text, "finish_reason": reason, "logprobs": null})
    };
    let mut choices: Vec<_> = (0..number("n")).map(&mut of).collect();
    if kind == Kind::Vllm {
        choices.reverse();
    }
    json!({"model": MODEL, "choices": choices, "usage": {"completion_tokens": tokens}})
}
