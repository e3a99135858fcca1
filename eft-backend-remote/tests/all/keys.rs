//! Keys are sent, and never shown.
use eft_backend_remote::{Error, Kind, Remote};
use eft_core::{Host, Sampling, Source};

use crate::fake::{Fake, Reply};
use crate::toy::vocab;

#[test]
fn a_key_is_sent_and_appears_nowhere() {
    // A variable that the test can rely on, without changing the environment of other tests.
    let (variable, key) = ("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));
    let fake = Fake::new(Kind::Vllm, |request, nth| {
        assert!(request.headers.to_ascii_lowercase().contains("authorization: bearer eft-backend-remote"));
        // Some servers repeat the key in their message.
        if nth == 0 {
            Reply::Proper
        } else {
            Reply::Status(401, "", r#"{"error":"bad key eft-backend-remote"}"#)
        }
    });
    let remote = fake.remote().key_from(variable);
    let shown = format!("{remote:?}");
    let server = remote.open().unwrap();
    let engine = server.engine(Host, vocab()).unwrap();
    let shown = format!("{shown} {server:?} {engine:?} {:?}", server.proposer());
    let mut text = Source::new(engine).generate([1], Sampling::greedy()).unwrap();
    text.next();
    let error = text.next().unwrap().unwrap_err();
    let message = eft_core::error::with_sources(&error);
    assert!(message.contains("status 401") && message.contains("bad key (key)"), "{message}");
    for text in [shown, message, format!("{error:?}")] {
        assert!(!text.contains(key), "{text}");
    }
}

#[test]
fn no_key_is_sent_unless_asked_for() {
    let fake = Fake::proper(Kind::Vllm);
    let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
    Source::new(engine).generate([1], Sampling::greedy()).unwrap().next();
    assert!(!fake.requests()[0].headers.to_ascii_lowercase().contains("authorization"));
}

#[test]
fn a_missing_key_is_named() {
    let error = Remote::vllm("http://127.0.0.1:1").key_from("EFT_NO_SUCH_KEY").open().unwrap_err();
    assert!(matches!(&error, Error::Key { variable, .. } if variable == "EFT_NO_SUCH_KEY"), "{error}");
}
