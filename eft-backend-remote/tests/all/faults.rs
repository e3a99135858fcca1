//! Servers that fail: every failure ends in the right text or in a clear error, within the time limit.
use std::time::{Duration, Instant};

use eft_backend_remote::{Error, Kind, Remote};
use eft_core::error::with_sources;
use eft_core::{Decoding, Host, Sampling, Source, TokenId};
use serde_json::json;

use crate::fake::{Fake, Reply, Request, http, proper};
use crate::toy::{WIDTH, local, vocab};

/// The greedy text of four tokens, or the error.
fn text(remote: Remote) -> Result<Vec<TokenId>, String> {
    let written = || -> eft_core::Result<Vec<_>> {
        let large = Source::new(remote.open()?.engine(Host, vocab())?);
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(4).stop_ids([]);
        large.generate([1, 2], decoding)?.map(|token| Ok(token?.id)).collect()
    };
    written().map_err(|error| with_sources(&error))
}

fn right() -> Vec<TokenId> {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(4).stop_ids([]);
    local(1).generate([1, 2], decoding).unwrap().map(|token| token.unwrap().id).collect()
}

/// A server that fails at the third request for log-probs, and after that is well.
fn once(kind: Kind, fault: impl Fn() -> Reply + Send + Sync + 'static) -> Fake {
    Fake::new(kind, move |_, nth| if nth == 2 { fault() } else { Reply::Proper })
}

/// A server that fails at the third request for log-probs and all after it.
fn always(kind: Kind, fault: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::new(kind, move |request, nth| if nth >= 2 { fault(request) } else { Reply::Proper })
}

#[test]
fn a_fault_that_passes_is_not_noticed() {
    let faults: [fn() -> Reply; 9] = [
        || Reply::Drop,
        || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choices\"".to_vec()),
        || Reply::Status(429, "retry-after: 0\r\n", "{}"),
        || Reply::Status(500, "", "oops"),
        || Reply::Status(502, "", ""),
        || {
            Reply::Status(
                503,
                "retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
                r#"{"error":{"message":"loading"}}"#,
            )
        },
        || Reply::Status(504, "connection: close\r\n", ""),
        || Reply::Raw(b"not HTTP at all\r\n\r\n".to_vec()),
    ];
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang] {
        for (index, fault) in faults.into_iter().enumerate() {
            let fake = once(kind, fault);
            assert_eq!(text(fake.remote()), Ok(right()), "{kind}, fault {index}");
            assert!(fake.requests().len() > 4, "{kind}, fault {index}: the request was repeated");
        }
    }
}

#[test]
fn a_fault_that_stays_is_an_error_that_names_it() {
    type Fault = fn() -> Reply;
    let faults: [(Fault, &str); 10] = [
        (|| Reply::Drop, "cannot be reached (tried 3 times)"),
        (
            || Reply::Status(429, "", r#"{"error":{"message":"slow down"}}"#),
            "status 429 (tried 3 times): slow down",
        ),
        (
            || Reply::Status(500, "", r#"{"error":"out of memory"}"#),
            "status 500 (tried 3 times): out of memory",
        ),
        (
            || Reply::Status(400, "", r#"{"detail":"no such model"}"#),
            "status 400 (tried 1 times): no such model",
        ),
        (|| Reply::Status(302, "location: http://127.0.0.1:1/\r\n", ""), "status 302"),
        (|| Reply::Raw(http(200, "", "<html>")), "it is not JSON"),
        (|| Reply::Raw(http(200, "", r#"{"choices": [{"index": 0, "#)), "it is not JSON"),
        (|| Reply::Raw(http(200, "", r#"{"choices": [{"index": 0, "logprobs": NaN}]}"#)), "it is not JSON"),
        (|| Reply::Json(json!([])), "is wrong"),
        (|| Reply::Json(json!({"choices": [], "completion_probabilities": []})), "is wrong"),
    ];
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang, Kind::OpenAi] {
        for (fault, named) in faults {
            let fake = always(kind, move |_| fault());
            let error = text(fake.remote().retries(2)).unwrap_err();
            assert!(error.contains(named) && error.contains(&fake.url()), "{kind}, {named}: {error}");
        }
    }
}

/// The proper answer, with every log-prob or id changed.
fn changed(kind: Kind, change: fn(&mut f64, &mut TokenId)) -> Fake {
    always(kind, move |request| {
        let mut answer = proper(kind, request);
        let change = |id: TokenId, log_prob: &serde_json::Value| {
            let (mut id, mut log_prob) = (id, log_prob.as_f64().unwrap());
            change(&mut log_prob, &mut id);
            (id, log_prob)
        };
        match kind {
            Kind::Vllm => {
                let told = &mut answer["choices"][0]["logprobs"]["top_logprobs"][0];
                let entries = told.as_object().unwrap().clone();
                *told = entries
                    .iter()
                    .map(|(key, value)| {
                        let (id, log_prob) = change(key["token_id:".len()..].parse().unwrap(), value);
                        (format!("token_id:{id}"), json!(log_prob))
                    })
                    .collect();
            }
            Kind::Sglang => {
                let named = answer["meta_info"]["output_token_ids_logprobs"].is_array();
                let told = if named { "output_token_ids_logprobs" } else { "output_top_logprobs" };
                let told = &mut answer["meta_info"][told];
                for entry in told[0].as_array_mut().unwrap() {
                    let (id, log_prob) = change(entry[1].as_u64().unwrap() as TokenId, &entry[0]);
                    *entry = json!([log_prob, id, null]);
                }
            }
            _ => {
                let told = &mut answer["completion_probabilities"][0]["top_logprobs"];
                for entry in told.as_array_mut().unwrap() {
                    let (id, log_prob) = change(entry["id"].as_u64().unwrap() as TokenId, &entry["logprob"]);
                    *entry = json!({"id": id, "logprob": log_prob});
                }
            }
        }
        Reply::Json(answer)
    })
}

#[test]
fn wrong_numbers_and_ids_are_errors() {
    type Change = fn(&mut f64, &mut TokenId);
    let changes: [(Change, &str); 5] = [
        (|log_prob, _| *log_prob = f64::NAN, "is not a log-prob"),
        (|log_prob, _| *log_prob = 3.0, "is 3"),
        (|log_prob, _| *log_prob = -0.5, "add up to"),
        (|_, id| *id += WIDTH as TokenId, "token id 0"),
        (|_, id| *id = 5.max(*id), "twice"),
    ];
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang] {
        for (change, named) in changes {
            // Equal keys of an object cannot be told apart from one.
            let named =
                if kind == Kind::Vllm && named == "twice" { "does not tell of token id 0" } else { named };
            let error = text(changed(kind, change).remote()).unwrap_err();
            assert!(error.contains(named), "{kind}, {named}: {error}");
        }
        let fake = changed(kind, |_, id| *id += WIDTH as TokenId);
        let error = text(fake.remote().top(3)).unwrap_err();
        assert!(error.contains("ids are below 24"), "{kind}: {error}");
    }
}

#[test]
fn a_model_that_was_swapped_is_an_error() {
    for kind in [Kind::LlamaServer, Kind::Vllm] {
        let fake = always(kind, move |request| {
            let mut answer = proper(kind, request);
            answer["model"] = "org/other".into();
            Reply::Json(answer)
        });
        let error = text(fake.remote()).unwrap_err();
        assert!(error.contains("now runs the model `org/other` instead of `org/toy`"), "{kind}: {error}");
    }
}

#[test]
fn a_prompt_that_was_cut_or_lengthened_is_an_error() {
    let fake = always(Kind::LlamaServer, |request| {
        let mut answer = proper(Kind::LlamaServer, request);
        answer["tokens_evaluated"] = 99.into();
        Reply::Json(answer)
    });
    assert!(text(fake.remote()).unwrap_err().contains("has read 99 tokens of a prompt of 4"));
    let fake = always(Kind::Vllm, |request| {
        let mut answer = proper(Kind::Vllm, request);
        answer["usage"]["prompt_tokens"] = 99.into();
        Reply::Json(answer)
    });
    assert!(text(fake.remote()).unwrap_err().contains("has read 99 tokens of prompts with 4"));
}

#[test]
fn nothing_takes_longer_than_the_time_limit() {
    let drip = || Reply::Drip(http(200, "", &"x".repeat(500)), Duration::from_millis(20));
    let faults: [fn() -> Reply; 4] = [
        || Reply::Silence(Duration::from_secs(30)),
        drip,
        || Reply::Status(503, "retry-after: 3600\r\n", r#"{"error":"come back later"}"#),
        || Reply::Status(503, "", "{}"),
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        let fake = always(Kind::LlamaServer, move |_| fault());
        let began = Instant::now();
        let error = text(fake.remote().timeout(Duration::from_millis(700)).retries(1000)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(15), "fault {index}: {:?}", began.elapsed());
        let named = if index < 2 { "did not answer within 0.7 s" } else { "status 503" };
        assert!(error.contains(named), "fault {index}: {error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // Nothing listens on the port of a listener that was dropped.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Remote::connect(format!("http://127.0.0.1:{port}")).unwrap_err();
    assert!(matches!(&error, Error::Lost { tries: 5, .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("http://127.0.0.1:{port}/v1/models")), "{error}");
}

#[test]
fn models_and_vocabularies_that_do_not_fit_are_named() {
    let fake = Fake::proper(Kind::LlamaServer);
    let error = Remote::connect(format!("{}/v1#org/other", fake.url())).unwrap_err();
    assert!(error.to_string().contains("has no model `org/other`; it has: org/toy"), "{error}");

    let server = fake.remote().open().unwrap();
    let error = server.check_vocabulary(&[], |text| Ok(vec![text.len() as TokenId])).unwrap_err();
    assert!(
        matches!(&error, Error::Vocabulary { text, .. } if error.to_string().contains(&format!("{text:?}")))
    );

    let large = eft_core::Vocab::anonymous("large", WIDTH + 1).unwrap();
    let error = server.engine(Host, large).unwrap_err();
    assert!(error.to_string().contains("scores 24 tokens, but the vocabulary here has 25"), "{error}");

    let error = Fake::proper(Kind::OpenAi).remote().whole_rows().open().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
