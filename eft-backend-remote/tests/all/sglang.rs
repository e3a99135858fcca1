//! SGLang: answers in the form that version 0.5.23 gave, and a real server, if `EFT_SGLANG` names a program that takes a
//! model and a port and starts it on 127.0.0.1.
use eft_backend_remote::{Kind, Remote};
use eft_core::error::with_sources;
use eft_core::{Engine, EngineRow, Host, RowFeed, Vocab};
use serde_json::json;

use crate::fake::{Fake, Reply, proper};
use crate::process::{Process, program};
use crate::toy::vocab;
use crate::vllm::scores_rows_and_named_tokens;
use crate::zoo;

/// What SGLang 0.5.23 answered for the zoo's base-large, shortened by the fields that are not read.
fn recorded() -> serde_json::Value {
    json!({
        "text": "ola",
        "output_ids": [547],
        "meta_info": {
            "finish_reason": {"type": "length", "length": 1},
            "prompt_tokens": 4,
            "input_token_logprobs": [[null, 41, null], [-14.747970581054688, 42, null]],
            "output_token_logprobs": [[-0.018901938572525978, 547, null]],
            "input_top_logprobs": [null, [[-0.0005131834768690169, 86, null], [-9.556066513061523, 488, null]]],
            "output_top_logprobs": [[[-0.018901938572525978, 547, null], [-4.211302757263184, 401, null]]],
            "completion_tokens": 1,
            "cached_tokens": 2,
        },
    })
}

/// The scores after the last two of the tokens 0, 40, 41, 42, if the server answers like this.
fn scored(answer: serde_json::Value) -> Result<Vec<Vec<f32>>, String> {
    let fake = Fake::new(Kind::Sglang, move |_, nth| match nth {
        0 => Reply::Json(json!({
            "meta_info": {"prompt_tokens": 2, "output_top_logprobs": [[[-0.5, 41, null], [-2.0, 3, null]]]},
        })),
        _ => Reply::Json(answer.clone()),
    });
    let engine = fake.remote().top(2).open().unwrap();
    let engine = engine.engine(Host, Vocab::anonymous("zoo", 1000).unwrap()).unwrap();
    let row = EngineRow { adapter: None, tokens: vec![0, 40] };
    let (mut session, _) = engine.open(&[row]).map_err(|error| with_sources(&error))?;
    let feed = RowFeed { tokens: vec![41, 42], wanted: 2 };
    let scores = session.extend(&[feed]).map_err(|error| with_sources(&error))?;
    let asked = &fake.requests()[1].body;
    assert_eq!((&asked["input_ids"], &asked["logprob_start_len"]), (&json!([0, 40, 41, 42]), &json!(2)));
    let rows = scores.positions(0);
    Ok(rows.into_iter().map(|row| eft_core::Backend::download(&Host, &[row], 1000).unwrap()).collect())
}

#[test]
fn recorded_answers_are_read() {
    let rows = scored(recorded()).unwrap();
    assert_eq!((rows.len(), rows[0][86], rows[0][488]), (2, -0.000_513_183_5, -9.556_066_5));
    assert_eq!((rows[1][547], rows[1][401], rows[1][86]), (-0.018_901_938, -4.211_302_8, f32::NEG_INFINITY));
}

#[test]
fn other_tokens_than_those_asked_for_are_an_error() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 5] = [
        (|told| told["input_token_logprobs"][1][1] = 43.into(), "has scored other tokens"),
        (|told| told["input_token_logprobs"] = json!([[null, 42, null]]), "has scored other tokens"),
        (|told| told["prompt_tokens"] = 5.into(), "has read 5 tokens of a prompt of 4"),
        (|told| told["input_top_logprobs"] = json!([null]), "does not answer prompt 1"),
        (|told| told["output_top_logprobs"] = json!([]), "`output_top_logprobs` is empty"),
    ];
    for (change, named) in changes {
        let mut answer = recorded();
        change(&mut answer["meta_info"]);
        let error = scored(answer).unwrap_err();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn several_positions_are_scored_by_one_prompt() {
    let fake = Fake::new(Kind::Sglang, |request, _| Reply::Json(proper(Kind::Sglang, request)));
    let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
    let (mut session, _) = engine.open(&[EngineRow { adapter: None, tokens: vec![1] }]).unwrap();
    session.extend(&[RowFeed { tokens: vec![2, 3, 4, 5], wanted: 4 }]).unwrap();
    let starts: Vec<_> = fake.requests().iter().map(|r| r.body["logprob_start_len"].clone()).collect();
    assert_eq!(starts, [json!(-1), json!(1)]);
}

#[test]
fn sglang_obeys_the_laws_and_scores_named_tokens() {
    let Some(program) = program("EFT_SGLANG") else { return };
    let connect = |url| Remote::sglang(url).retries(0).open();
    let (_process, server) = Process::connected(&program, &zoo("base-large"), connect);
    assert_eq!((server.kind(), server.context()), (Kind::Sglang, Some(505)));
    scores_rows_and_named_tokens(&server, Remote::sglang(server.url()));
}
