//! A real vLLM, if `EFT_VLLM` names a program that takes a model and a port and starts its server on 127.0.0.1.
use eft_backend_remote::{Kind, ProvenSum, Remote, Server};
use eft_core::conformance::{SourceTest, check_engine};
use eft_core::{Decoding, Host, Sampling, Source, Vocab, from_fn};

use crate::process::{Process, program};
use crate::zoo;

#[test]
fn vllm_obeys_the_laws_and_scores_named_tokens() {
    let Some(program) = program("EFT_VLLM") else { return };
    let connect = |url| Remote::vllm(url).retries(0).open();
    let (_process, server) = Process::connected(&program, &zoo("base-large"), connect);
    assert_eq!((server.kind(), server.context()), (Kind::Vllm, Some(511)));
    scores_rows_and_named_tokens(&server, Remote::vllm(server.url()));
}

/// The laws of engines, and choices of a sum that are proven by named tokens. `again` connects to the same server.
pub(crate) fn scores_rows_and_named_tokens(server: &Server, again: Remote) {
    let vocab = Vocab::anonymous("zoo", 1000).unwrap();
    let engine = server.engine(Host, vocab.clone()).unwrap();
    let test = SourceTest::new([vec![0, 5, 6], vec![0, 40, 41, 42]]).tolerance(1e-3);
    check_engine(&engine, &test).unwrap();

    // A local term that prefers tokens that are not among the three likeliest.
    let delta = from_fn(Host, vocab.clone(), |tokens| {
        Ok((0..1000).map(|id| if (id + tokens.len()) % 13 == 0 { 9.0 } else { 0.0 }).collect())
    });
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(20).stop_ids([]);
    let whole = Source::new(engine) + &delta;
    let whole: Vec<_> = whole.generate([0, 40, 41], &decoding).unwrap().map(|t| t.unwrap().id).collect();
    let top = again.top(3).open().unwrap().engine(Host, vocab).unwrap();
    let sum = ProvenSum::new(&top, &Source::new(top.clone()), &delta).unwrap();
    let told: Vec<_> =
        sum.source().generate([0, 40, 41], &decoding).unwrap().map(|t| t.unwrap().id).collect();
    assert_eq!(told, whole);
    let report = sum.report();
    assert!(report.widened > 0 && report.unproven == 0, "{report:?}");
}
