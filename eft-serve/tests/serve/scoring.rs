//! Log-probs of prompts: several are scored at once, in pieces, and each is as if it had been alone.
use std::sync::Arc;
use std::thread;

use eft::candle::Candle;
use eft::{Vocab, from_fn};
use eft_serve::{Config, Models, Server};
use serde_json::{Value, json};

use crate::http::{metric, post};
use crate::scheduling::{Gate, until};
use crate::shared;

/// A request for the log-probs of a prompt, which is `lm-eval`'s but for some fields.
fn request(prompt: Value, index: usize) -> Value {
    let mut body = json!({
        "model": "eft", "prompt": prompt, "temperature": 0, "max_tokens": 1, "logprobs": 1 + index % 3, "echo": true,
    });
    match index % 5 {
        1 => body["max_tokens"] = json!(0),
        2 => (body["temperature"], body["seed"]) = (json!(1.3), json!(index)),
        3 => body["max_tokens"] = json!(3),
        4 => (body["n"], body["temperature"], body["seed"]) = (json!(2), json!(1.0), json!(7)),
        _ => {}
    }
    body
}

/// Texts, tokens and alternatives, and the log-probs of both.
fn reported(answer: &Value) -> (Vec<Value>, Vec<f64>) {
    let (mut shown, mut numbers) = (Vec::new(), Vec::new());
    for choice in answer["choices"].as_array().unwrap() {
        let reported = &choice["logprobs"];
        shown.push(json!([
            choice["text"],
            choice["finish_reason"],
            reported["tokens"],
            reported["text_offset"]
        ]));
        numbers.extend(reported["token_logprobs"].as_array().unwrap().iter().filter_map(Value::as_f64));
        for top in reported["top_logprobs"].as_array().unwrap().iter().filter_map(Value::as_object) {
            let mut top: Vec<_> = top.iter().collect();
            top.sort_by_key(|(name, _)| (*name).clone());
            shown.extend(top.iter().map(|(name, _)| json!(name)));
            numbers.extend(top.iter().filter_map(|(_, number)| number.as_f64()));
        }
    }
    (shown, numbers)
}

#[test]
fn scores_do_not_depend_on_what_else_is_scored() {
    let url = format!("{}/v1/completions", shared());
    let question = |index: usize| {
        let name = ["Ada Brook", "Nora Abbot", "Olga Lane"][index % 3];
        let answer = ["In Norby.", "In Norby by the sea", "He plays the harp.", "No"][index / 3 % 4];
        json!(format!("Question: Where does {name} live?\nAnswer: {answer}"))
    };
    let requests: Vec<_> = (0..24).map(|index| request(question(index), index)).collect();
    let ask = |body: &Value| post(&url, body.clone()).ok();
    let alone: Vec<_> = requests.iter().map(ask).collect();
    let together: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = requests.iter().map(|body| scope.spawn(move || ask(body))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    // All prompts of one request are scored together, too.
    let all: Vec<_> = (0..12).map(question).collect();
    let list = ask(&request(json!(all), 0));
    let of_list = list["choices"].as_array().unwrap().iter().map(|choice| json!({"choices": [choice]}));
    let each: Vec<_> = all.iter().map(|prompt| ask(&request(prompt.clone(), 0))).collect();
    let pairs = alone.iter().cloned().zip(together).chain(each.into_iter().zip(of_list));
    for (index, (alone, together)) in pairs.enumerate() {
        let (mut together, mut alone) = (together, alone);
        for answer in [&mut together, &mut alone] {
            answer["choices"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .for_each(|choice| choice["index"] = json!(0));
        }
        let ((shown, numbers), (expected, exact)) = (reported(&together), reported(&alone));
        assert_eq!(shown, expected, "{index}");
        assert_eq!(numbers.len(), exact.len());
        for (got, expected) in numbers.iter().zip(exact) {
            assert!((got - expected).abs() < 1e-4, "{index}: {got} {expected}");
        }
    }
}

/// The token after a prompt that is scored comes from the same pass, and is the one that is written without scoring.
#[test]
fn the_token_after_a_prompt_does_not_depend_on_scores() {
    let url = format!("{}/v1/completions", shared());
    let settings = [
        json!({}),
        json!({"temperature": 1.5, "seed": 3, "top_p": 0.9}),
        json!({"logit_bias": {"14": 30}}),
        json!({"temperature": 1.0, "seed": 8, "min_p": 0.05, "stop": ["e", " "]}),
        json!({"repetition_penalty": 5.0}),
        json!({"prompt": "Question: Where does Ada Brook live?\nAnswer: In Norby."}),
    ];
    for more in settings {
        let ask = |echo: bool| {
            let mut body = json!({
                "model": "eft", "prompt": "Question: Where does Ada", "max_tokens": 1, "logprobs": 3, "temperature": 0,
                "echo": echo,
            });
            more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
            let answer = post(&url, body.clone()).ok();
            let choice = answer["choices"][0].clone();
            let prompt = if echo { body["prompt"].as_str().unwrap() } else { "" };
            let text = choice["text"].as_str().unwrap().strip_prefix(prompt).unwrap().to_owned();
            let last = |field: &str| choice["logprobs"][field].as_array().unwrap().last().cloned();
            let number =
                last("token_logprobs").filter(|_| !echo || answer["usage"]["completion_tokens"] != 0);
            let shown = json!([text, choice["finish_reason"], answer["usage"], last("tokens")]);
            (shown, number.and_then(|number| number.as_f64()))
        };
        let ((shown, number), (expected, exact)) = (ask(true), ask(false));
        // A text that a stop string has ended before its first token reports no token, and the prompt's last one does.
        let stopped = expected[0] == "" && expected[1] == "stop" && exact.is_none();
        assert_eq!(shown[0], expected[0], "{more}");
        assert_eq!((&shown[1], &shown[2]), (&expected[1], &expected[2]), "{more}");
        if !stopped {
            assert_eq!(shown[3], expected[3], "{more}");
            assert!((number.unwrap() - exact.unwrap()).abs() < 1e-4, "{more}: {number:?} {exact:?}");
        }
    }
}

#[test]
fn texts_that_begin_alike_are_scored_once_up_to_where_they_part() {
    let gate = Gate::default();
    let server = gate.server(|_| {});
    let url = format!("http://{}", server.address());
    let prompts = json!([[0, 1, 1, 0, 1], [0, 1, 1, 1, 1], [0, 1, 1], [1, 1]]);
    let body = json!({"model": "model", "prompt": prompts, "echo": true, "logprobs": 0, "max_tokens": 0});
    gate.open();
    let answer = post(&format!("{url}/v1/completions"), body).ok();
    assert_eq!(metric(&url, "eft_scored_tokens_total"), 4.0 + 4.0 + 2.0 + 1.0);
    assert_eq!(metric(&url, "eft_scored_positions_total"), 2.0 + 2.0 + 2.0 + 1.0);
    // The model's logits at odd lengths of text are 0, 1 and 0.5, and at even ones 0, 0 and 0.5.
    let sums = [0.0f64, 1.0, 0.5].map(f64::exp).iter().sum::<f64>().ln();
    let even = [0.0f64, 0.0, 0.5].map(f64::exp).iter().sum::<f64>().ln();
    let expected = [vec![1.0 - sums, -even, -sums, -even], vec![1.0 - sums, -even, 1.0 - sums, -even]];
    for (choice, expected) in answer["choices"].as_array().unwrap().iter().zip(expected) {
        let got = choice["logprobs"]["token_logprobs"].as_array().unwrap()[1..].iter();
        for (got, expected) in got.zip(expected) {
            assert!((got.as_f64().unwrap() - expected).abs() < 1e-5, "{choice}");
        }
    }
}

#[test]
fn a_long_text_is_scored_in_pieces_between_the_steps_of_other_texts() {
    let gate = Gate::default();
    let server = gate.server(|config| (config.limits.prefill, config.limits.tokens) = (4, 1 << 30));
    let url = format!("http://{}", server.address());
    let ask = |body: Value| {
        let url = format!("{url}/v1/completions");
        thread::spawn(move || post(&url, body))
    };
    let text = ask(json!({"model": "model", "prompt": [0], "temperature": 0, "max_tokens": 30}));
    until("the first step", || gate.calls() > 0);
    let long =
        json!({"model": "model", "prompt": vec![1; 4000], "echo": true, "logprobs": 0, "max_tokens": 0});
    let long = ask(long);
    until("the queue", || metric(&url, "eft_queue_jobs") == 1.0);
    gate.open();
    assert_eq!(text.join().unwrap().ok()["usage"]["completion_tokens"], 30);
    // The long text needs 1,000 steps, and the other one 30.
    let scored = metric(&url, "eft_scored_tokens_total");
    assert!(scored < 3000.0, "{scored}");
    long.join().unwrap().ok();
    assert_eq!(metric(&url, "eft_scored_tokens_total"), 3999.0);
}

#[test]
fn a_text_that_cannot_be_scored_fails_alone() {
    let vocab = Vocab::new("abc", ["a", "b", "c"]).unwrap();
    let gate = Gate::default();
    let model = {
        let gate = gate.clone();
        from_fn(Candle::cpu(), vocab, move |tokens| {
            gate.pass();
            match (tokens.len(), tokens[0]) {
                (3, 2) => Err(eft::Error::source("the model", "it was told to fail")),
                (3, 1) => Ok(vec![f32::NAN, 0.0, 0.0]),
                _ => Ok(vec![0.0, tokens.len() as f32 % 2.0, 0.5]),
            }
        })
    };
    let mut config = Config::empty();
    config.server.port = 0;
    let server = Server::with_models(Models::of(("model", model), []), &config).unwrap();
    let url = Arc::new(format!("http://{}", server.address()));
    let ask = |prompt: Vec<u32>| {
        let url = url.clone();
        let body = json!({"model": "model", "prompt": prompt, "echo": true, "logprobs": 1, "max_tokens": 1, "temperature": 0});
        thread::spawn(move || post(&format!("{url}/v1/completions"), body))
    };
    let first = ask(vec![0, 1, 0, 1, 0]);
    until("the first pass", || gate.calls() > 0);
    let others: Vec<_> =
        [vec![0, 2, 1, 1, 0, 1], vec![2, 0, 1, 1, 0], vec![1, 0, 1, 1], vec![0, 0, 0, 0, 7]].map(ask).into();
    until("the queue", || metric(&url, "eft_queue_jobs") == 4.0);
    gate.open();
    let choices = |answer: crate::http::Answer| answer.ok()["choices"].clone();
    let first = choices(first.join().unwrap());
    let others: Vec<_> = others.into_iter().map(|asked| asked.join().unwrap()).collect();
    assert_eq!(first, choices(ask(vec![0, 1, 0, 1, 0]).join().unwrap()));
    assert_eq!(
        others[0].ok()["choices"],
        choices(ask(vec![0, 2, 1, 1, 0, 1]).join().unwrap()),
        "it was in one batch with those that failed"
    );
    for (answer, status, reason) in
        [(&others[1], 500, "it was told to fail"), (&others[2], 500, "NaN"), (&others[3], 400, "7")]
    {
        answer.refused(status);
        assert!(answer.text.contains(reason), "{}", answer.text);
    }
}

#[test]
fn a_client_that_leaves_is_scored_no_more() {
    use std::io::Write;

    let gate = Gate::default();
    let server = gate.server(|config| config.limits.prefill = 1);
    let url = format!("http://{}", server.address());
    let body =
        json!({"model": "model", "prompt": vec![1; 100_000], "echo": true, "logprobs": 0, "max_tokens": 0});
    let mut client = std::net::TcpStream::connect(server.address()).unwrap();
    let (head, text) =
        ("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json", body.to_string());
    write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    gate.open();
    until("some steps", || gate.calls() > 3);
    drop(client);
    until("the end", || metric(&url, "eft_running_rows") == 0.0);
    assert!(metric(&url, "eft_scored_tokens_total") < 99_999.0);
}
