//! The laws of engines, and the same texts as without a server, for every kind of server.
use eft_backend_remote::Kind;
use eft_core::conformance::{SourceTest, check_engine, check_joins, check_source};
use eft_core::{Decoding, Engine, Host, Sampling, Source};

use crate::fake::Fake;
use crate::toy::{local, tokenize, vocab};

const KINDS: [Kind; 4] = [Kind::LlamaServer, Kind::Vllm, Kind::Sglang, Kind::OpenAi];

#[test]
fn engines_obey_the_laws() {
    let test = SourceTest::new([vec![1], vec![2, 3, 4]]);
    for kind in KINDS {
        let fake = Fake::proper(kind);
        let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
        assert_eq!(engine.spec().context, Some(64));
        check_engine(&engine, &test).unwrap_or_else(|failure| panic!("{kind}: {failure}"));
        let source = Source::new(engine);
        check_source(&source, &test).unwrap_or_else(|failure| panic!("{kind}: {failure}"));
        check_joins(&source, &test.clone().walks(2).steps(10))
            .unwrap_or_else(|failure| panic!("{kind}: {failure}"));
    }
}

#[test]
fn whole_rows_are_those_of_the_model() {
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang] {
        let fake = Fake::proper(kind);
        let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
        let (pair, large) = (local(2) - local(3), Source::new(engine));
        let decoding = Decoding::from(Sampling::default().seed(5)).max_tokens(12).stop_ids([]);
        let texts = |large: Source<Host>| -> Vec<_> {
            let prompts = [vec![1], vec![4, 2], vec![7, 7, 7]];
            let batch = (&large + &pair).generate_batch(prompts, &decoding).unwrap();
            batch.text().unwrap().read().into_iter().map(Result::unwrap).collect()
        };
        assert_eq!(texts(large), texts(local(1)), "{kind}");
    }
}

#[test]
fn a_drafted_text_is_the_same_in_fewer_round_trips() {
    for kind in [Kind::LlamaServer, Kind::Vllm, Kind::Sglang] {
        let fake = Fake::proper(kind);
        let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
        // The draft is the model itself, so everything is accepted.
        let (large, draft) = (Source::new(engine.clone()), local(1));
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(40).stop_ids([]);
        let plain: Vec<_> = large.generate([3], &decoding).unwrap().map(|t| t.unwrap().id).collect();
        let (before, positions) = (engine.traffic().requests, engine.traffic().positions);
        let fast = large.speculate().draft(&draft).block(7).generate([3], &decoding).unwrap();
        assert_eq!(fast.map(|token| token.unwrap().id).collect::<Vec<_>>(), plain, "{kind}");
        let traffic = engine.traffic();
        // One request for the prompt, then one for each 8 tokens, and no position twice.
        assert_eq!(traffic.requests - before, 1 + 40 / 8, "{kind}");
        assert_eq!(traffic.positions - positions, 40, "{kind}");
    }
}

#[test]
fn a_server_says_what_it_is() {
    for kind in KINDS {
        let fake = Fake::proper(kind);
        let server = eft_backend_remote::Remote::connect(format!("{}/v1/", fake.url())).unwrap();
        assert_eq!((server.kind(), server.model()), (kind, crate::fake::MODEL));
        let compared = server.check_vocabulary(&["<end>".into()], |text| Ok(tokenize(text))).unwrap();
        assert_eq!(compared > 5, kind != Kind::OpenAi);
    }
}

#[test]
fn connections_are_kept() {
    let fake = Fake::proper(Kind::LlamaServer);
    let engine = fake.remote().parallel(2).open().unwrap().engine(Host, vocab()).unwrap();
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(10).stop_ids([]);
    Source::new(engine).generate_batch([[1], [2], [3]], decoding).unwrap().for_each(drop);
    assert!(fake.requests().len() >= 30);
    assert!(fake.connections() <= 3, "{}", fake.connections());
}
