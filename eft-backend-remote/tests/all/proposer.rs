//! Searches whose base is a server that is asked for sampled text only.
use std::time::{Duration, Instant};

use eft_backend_remote::{Error, Kind, Remote};
use eft_core::decode::FinishReason;
use eft_core::error::with_sources;
use eft_core::search::{
    BlackBox, ChunkBeamSearch, Continuation, ImplicitReward, Proposer, SampledText, SearchResult,
};
use eft_core::{Decoding, Host, Prompt, Sampling};
use serde_json::json;

use crate::fake::{Fake, Reply, http, proper};
use crate::toy::{END, Letters, local, tokenize, write};

const KINDS: [Kind; 4] = [Kind::LlamaServer, Kind::Vllm, Kind::Sglang, Kind::OpenAi];

/// The numbers of kept texts, of their successors, and of tokens in a chunk.
const SHAPES: [[usize; 3]; 3] = [[1, 1, usize::MAX], [1, 6, usize::MAX], [3, 2, 4]];

fn guide() -> ImplicitReward<Host> {
    let rendered = |seed| local(seed).rendered_by(Letters).unwrap();
    ImplicitReward::new(&rendered(2), &rendered(3))
}

fn search(base: &dyn Proposer, [width, successors, chunk]: [usize; 3], sampling: Sampling) -> SearchResult {
    let decoding = Decoding::from(sampling).max_tokens(12);
    let search = ChunkBeamSearch::new(base, guide()).decoding(decoding);
    search.width(width).successors(successors).chunk(chunk).run("hello").unwrap()
}

/// The same model and the same sampler without a server.
fn alone() -> BlackBox {
    BlackBox::new(|prompt: &Prompt, text: &str, count, seed| {
        let Prompt::Text(prompt) = prompt else { unreachable!() };
        let written = write(&tokenize(&format!("{prompt}{text}")), seed, 0.7, count);
        Ok(SampledText { text: written.text, tokens: written.tokens, ended: written.ended })
    })
}

fn sampled() -> Sampling {
    Sampling::default().temperature(0.7).seed(3)
}

fn seed_of(fake: &Fake) -> u64 {
    fake.requests()[0].body["seed"].as_u64().unwrap()
}

#[test]
fn a_search_finds_what_it_finds_without_a_server() {
    for kind in KINDS {
        for shape in SHAPES {
            for rendered in [false, true] {
                let fake = Fake::proper(kind);
                let base = fake.remote().open().unwrap().proposer();
                let base = if rendered { base.rendered_by(Letters) } else { base };
                let found = search(&base, shape, sampled());
                let expected = search(&alone(), shape, sampled().seed(seed_of(&fake)));
                assert_eq!(found.candidates, expected.candidates, "{kind}, {shape:?}");
                assert!(fake.requests().iter().all(|request| request.body["prompt"].is_array() == rendered));
            }
        }
    }
}

#[test]
fn a_greedy_text_is_that_of_the_model() {
    let fake = Fake::proper(Kind::LlamaServer);
    let base = fake.remote().open().unwrap().proposer().rendered_by(Letters);
    let found = search(&base, [1, 1, 5], Sampling::greedy());
    let model = local(1).rendered_by(Letters).unwrap();
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(12).stop_ids([END]);
    let text = model.generate("hello", decoding).unwrap();
    let text: String = text.text().unwrap().collect::<eft_core::Result<_>>().unwrap();
    assert_eq!(found.best().continuation.to_text(), text);
}

#[test]
fn rows_with_one_text_are_sampled_by_one_request() {
    let fake = Fake::proper(Kind::Vllm);
    let base = fake.remote().open().unwrap().proposer();
    let found = search(&base, [4, 3, 2], sampled());
    let numbers: Vec<_> = fake.requests().iter().map(|r| r.body["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers[0], 12);
    assert!(numbers[1..].iter().all(|n| *n == 3), "{numbers:?}");
    assert!(found.rounds > 2 && numbers.len() <= 1 + 4 * (found.rounds - 1), "{numbers:?}");
    let seeds: Vec<_> = fake.requests().iter().map(|r| r.body["seed"].as_u64().unwrap()).collect();
    let distinct = seeds.iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(distinct, seeds.len());
}

#[test]
fn a_server_that_limits_samples_gives_the_same_texts() {
    // It refuses more than three, or ignores how many were asked for.
    let refuses = |request: &crate::fake::Request, _| match request.body["n"].as_u64() {
        Some(4..) => Reply::Status(400, "", r#"{"error":{"message":"n is at most 3"}}"#),
        _ => Reply::Proper,
    };
    let ignores = |request: &crate::fake::Request, _| {
        let mut alone = request.clone();
        alone.body["n"] = 1.into();
        Reply::Json(proper(Kind::LlamaServer, &alone))
    };
    let fakes = [Fake::new(Kind::LlamaServer, refuses), Fake::new(Kind::LlamaServer, ignores)];
    for (index, fake) in fakes.into_iter().enumerate() {
        let base = fake.remote().open().unwrap().proposer();
        let found = search(&base, [2, 5, 4], sampled());
        let expected = search(&alone(), [2, 5, 4], sampled().seed(seed_of(&fake)));
        assert_eq!(found.candidates, expected.candidates, "server {index}");
        let before = fake.requests().len();
        search(&base, [2, 5, 4], sampled());
        let refused = fake.requests()[before..].iter().filter(|r| r.body["n"].as_u64() > Some(3)).count();
        assert!(index == 1 || refused == 0, "what was refused is not asked for again");
    }
}

#[test]
fn a_text_is_not_cut_within_a_character() {
    let fake = Fake::new(Kind::OpenAi, |request, _| {
        let (text, reason) = match request.body["max_tokens"].as_u64().unwrap() {
            0..=2 => ("\u{fffd}", "length"),
            _ => ("é\u{fffd}", "length"),
        };
        Reply::Json(json!({"choices": [{"index": 0, "text": text, "finish_reason": reason}]}))
    });
    let base = fake.remote().open().unwrap().proposer();
    let length = |_: &Prompt, text: &Continuation| Ok(text.text.len() as f64);
    let found = ChunkBeamSearch::new(&base, length).best_of(1).chunk(2).max_tokens(4).run("?").unwrap();
    assert_eq!(found.best().continuation.text, "é".as_bytes());
}

#[test]
fn texts_end_where_nothing_can_follow() {
    // The context has 65 places, of which the prompt takes 60.
    let fake = Fake::proper(Kind::Vllm);
    let base = fake.remote().open().unwrap().proposer().rendered_by(Letters);
    let length = |_: &Prompt, text: &Continuation| Ok(text.text.len() as f64);
    let run = |prompt: Vec<u32>| ChunkBeamSearch::new(&base, length).best_of(8).run(prompt).unwrap();
    let found = run(vec![3; 60]);
    let full = found.candidates.iter().filter(|c| c.continuation.end == Some(FinishReason::ContextFull));
    assert!(full.map(|c| c.continuation.text.len()).all(|length| length == 5));
    assert!(fake.requests().iter().all(|request| request.body["max_tokens"] == 5));
    let asked = fake.requests().len();
    assert_eq!(run(vec![3; 65]).best().continuation.end, Some(FinishReason::ContextFull));
    assert_eq!(fake.requests().len(), asked);

    // A server that appends nothing is not asked for ever.
    let fake = Fake::new(Kind::OpenAi, |_, _| {
        Reply::Json(json!({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}))
    });
    let base = fake.remote().open().unwrap().proposer();
    let found = ChunkBeamSearch::new(&base, length).width(1).successors(1).chunk(2).run("?").unwrap();
    assert_eq!(found.best().continuation.end, Some(FinishReason::Ended));
    assert_eq!(fake.requests().len(), 2);
}

#[test]
fn settings_that_cannot_be_asked_for_are_errors() {
    let decoding = || Decoding::from(Sampling::default());
    let refused = [
        (Kind::Vllm, decoding().stop_ids([0]), "stop ids"),
        (Kind::Vllm, decoding().stop_sequence([1]), "stop sequences"),
        (Kind::Vllm, decoding().alternatives(2), "alternatives"),
        (
            Kind::Vllm,
            decoding().processor(eft_core::sample::LogitBias::new([(3, 1.0)]).unwrap()),
            "processors of scores",
        ),
        (Kind::OpenAi, Decoding::from(Sampling::default().top_k(5)), "top-k"),
        (Kind::OpenAi, Decoding::from(Sampling::default().min_p(0.1)), "min-p"),
    ];
    for (kind, decoding, named) in refused {
        let fake = Fake::proper(kind);
        let base = fake.remote().open().unwrap().proposer();
        let error = base.open(&"a".into(), &decoding).err().unwrap().to_string();
        assert!(error.contains(named) && error.contains(&fake.url()), "{error}");
    }
    let fake = Fake::proper(Kind::Vllm);
    let base = fake.remote().open().unwrap().proposer();
    for prompt in [Prompt::chat("a"), Prompt::from([1])] {
        let error = base.open(&prompt, &Decoding::default()).err().unwrap().to_string();
        assert!(error.contains("renderer"), "{error}");
    }
}

/// The text that a server finds that answers the second request like this, or its error.
fn with_fault(
    remote: impl Fn(Remote) -> Remote,
    fault: fn() -> Reply,
    always: bool,
) -> Result<String, String> {
    let fake = Fake::new(Kind::Vllm, move |_, nth| match nth == 1 || always && nth > 1 {
        true => fault(),
        false => Reply::Proper,
    });
    let base = remote(fake.remote()).open().unwrap().proposer();
    let decoding = Decoding::from(sampled()).max_tokens(12);
    let search = ChunkBeamSearch::new(&base, guide()).decoding(decoding).width(2).successors(2).chunk(3);
    let found = search.run("hello").map_err(|error| with_sources(&error))?;
    Ok(found.best().continuation.to_text())
}

#[test]
fn a_fault_of_the_server_is_not_noticed_or_named() {
    let right = with_fault(|remote| remote, || Reply::Proper, false).unwrap();
    let passing: [fn() -> Reply; 4] = [
        || Reply::Drop,
        || Reply::Status(429, "retry-after: 0\r\n", "{}"),
        || Reply::Status(500, "", "oops"),
        || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choices\"".to_vec()),
    ];
    for fault in passing {
        assert_eq!(with_fault(|remote| remote, fault, false), Ok(right.clone()));
    }
    type Fault = fn() -> Reply;
    let staying: [(Fault, &str); 8] = [
        (|| Reply::Drop, "cannot be reached (tried 2 times)"),
        (
            || Reply::Status(500, "", r#"{"error":"out of memory"}"#),
            "status 500 (tried 2 times): out of memory",
        ),
        (|| Reply::Status(400, "", r#"{"error":"too long"}"#), "status 400 (tried 1 times): too long"),
        (|| Reply::Raw(http(200, "", "<html>")), "it is not JSON"),
        (|| Reply::Raw(http(200, "", r#"{"choices": [{"text": "#)), "it is not JSON"),
        (|| Reply::Json(json!({"choices": []})), "no list `choices`"),
        (
            || {
                let choice = json!({"index": 0, "text": "a", "finish_reason": "length"});
                Reply::Json(json!({"model": "org/other", "choices": [choice]}))
            },
            "now runs the model `org/other`",
        ),
        (
            || Reply::Drip(http(200, "", &"x".repeat(500)), Duration::from_millis(20)),
            "did not answer within 0.7 s",
        ),
    ];
    for (fault, named) in staying {
        let began = Instant::now();
        let limited = |remote: Remote| remote.retries(1).timeout(Duration::from_millis(700));
        let error = with_fault(limited, fault, true).unwrap_err();
        assert!(error.contains(named) && error.contains("/v1/completions"), "{named}: {error}");
        assert!(began.elapsed() < Duration::from_secs(15), "{named}");
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_before_a_search() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Remote::openai(format!("http://127.0.0.1:{port}")).retries(0).open().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}
