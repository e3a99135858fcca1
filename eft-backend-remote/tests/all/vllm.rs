//! A real vLLM, if `EFT_VLLM` names a program that takes a model and a port and starts its server on 127.0.0.1.
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eft_backend_remote::{Kind, ProvenSum, Remote, Server};
use eft_core::conformance::{SourceTest, check_engine};
use eft_core::{Decoding, Host, Sampling, Source, Vocab, from_fn};

use crate::process::{Process, program};
use crate::zoo;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(300);

fn start(program: &str) -> (Process, Server) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.arg(zoo("base-large")).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let began = Instant::now();
    loop {
        let last = match Remote::vllm(format!("http://127.0.0.1:{port}")).retries(0).open() {
            Ok(server) => return (process, server),
            Err(error) => error,
        };
        assert!(!process.has_ended() && began.elapsed() < START, "vLLM does not start: {last}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn vllm_obeys_the_laws_and_scores_named_tokens() {
    let Some(program) = program("EFT_VLLM") else { return };
    let (_process, server) = start(&program);
    let vocab = Vocab::anonymous("zoo", 1000).unwrap();
    assert_eq!((server.kind(), server.context()), (Kind::Vllm, Some(511)));
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
    let top = Remote::vllm(server.url()).top(3).open().unwrap().engine(Host, vocab).unwrap();
    let sum = ProvenSum::new(&top, &Source::new(top.clone()), &delta).unwrap();
    let told: Vec<_> =
        sum.source().generate([0, 40, 41], &decoding).unwrap().map(|t| t.unwrap().id).collect();
    assert_eq!(told, whole);
    let report = sum.report();
    assert!(report.widened > 0 && report.unproven == 0, "{report:?}");
}
