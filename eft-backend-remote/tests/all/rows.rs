//! The rows of a batch are asked for at the same time, and fail one by one.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eft_backend_remote::{Kind, ProvenSum};
use eft_core::decode::Event;
use eft_core::{Decoding, Engine, EngineRow, Error, Host, RowFeed, Sampling, Source};

use crate::fake::{Fake, Reply, prompts};
use crate::toy::{local, vocab};

/// A server that refuses rows that begin with token 7 once they are `length` tokens long.
fn refuses_seven(length: usize) -> Fake {
    Fake::new(Kind::LlamaServer, move |request, _| {
        let refused = prompts(&request.body).iter().any(|prompt| prompt[0] == 7 && prompt.len() >= length);
        if refused { Reply::Status(400, "", r#"{"error":{"message":"not seven"}}"#) } else { Reply::Proper }
    })
}

#[test]
fn a_row_that_fails_does_not_lose_the_others() {
    // It fails at its prompt, and in the middle of its text.
    for length in [1, 5] {
        let fake = refuses_seven(length);
        let large = Source::new(fake.remote().open().unwrap().engine(Host, vocab()).unwrap());
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(8).stop_ids([]);
        let rows = [vec![1], vec![7, 2], vec![3, 3]];
        let mut texts = vec![Vec::new(); 3];
        let mut failed = Vec::new();
        for event in (&large + local(2)).generate_batch(rows.clone(), &decoding).unwrap() {
            match event.unwrap() {
                Event::Token { row, token } => texts[row].push(token.id),
                Event::Finished { .. } => {}
                Event::Failed { row, error } => failed.push((row, eft_core::error::with_sources(&*error))),
            }
        }
        assert!(matches!(&failed[..], [(1, error)] if error.contains("not seven")), "{failed:?}");
        assert_eq!(texts[1].len(), length.saturating_sub(2));
        for row in [0, 2] {
            let alone = (local(1) + local(2)).generate(rows[row].clone(), &decoding).unwrap();
            assert_eq!(texts[row], alone.map(|token| token.unwrap().id).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_row_whose_choice_cannot_be_proven_for_a_failure_does_not_lose_the_others() {
    // Named tokens are asked for where the likeliest do not prove the choice: this server refuses those of one row.
    let fake = Fake::new(Kind::Vllm, |request, _| {
        let named = request.body["logprob_token_ids"].is_array();
        match named && prompts(&request.body)[0][0] == 7 {
            true => Reply::Status(400, "", r#"{"error":{"message":"not seven"}}"#),
            false => Reply::Proper,
        }
    });
    let engine = fake.remote().top(3).open().unwrap().engine(Host, vocab()).unwrap();
    let delta = 2.0 * (local(2) - local(3));
    let sum = ProvenSum::new(&engine, &Source::new(engine.clone()), &delta).unwrap();
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(8).stop_ids([]);
    let rows = [vec![1], vec![7, 2], vec![3, 3]];
    let (mut texts, mut failed) = (vec![Vec::new(); 3], Vec::new());
    for event in sum.source().generate_batch(rows.clone(), &decoding).unwrap() {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].push(token.id),
            Event::Finished { .. } => {}
            Event::Failed { row, .. } => failed.push(row),
        }
    }
    assert_eq!(failed, [1]);
    for row in [0, 2] {
        let alone = (local(1) + &delta).generate(rows[row].clone(), &decoding).unwrap();
        assert_eq!(texts[row], alone.map(|token| token.unwrap().id).collect::<Vec<_>>());
    }
    assert!(sum.report().widened > 0, "{:?}", sum.report());
}

#[test]
fn only_the_row_that_failed_is_asked_for_again() {
    let fake = refuses_seven(3);
    let engine = fake.remote().open().unwrap().engine(Host, vocab()).unwrap();
    let rows = [vec![1], vec![7, 2], vec![3, 3]].map(|tokens| EngineRow { adapter: None, tokens });
    let (mut session, _) = engine.open(&rows).unwrap();
    let feeds = [RowFeed::one(4), RowFeed::one(5), RowFeed::one(6)];
    let asked = fake.requests().len();
    for tries in [3, 1, 1] {
        let before = fake.requests().len();
        assert!(matches!(session.extend(&feeds), Err(Error::RowFailed { row: 1, .. })));
        assert_eq!(fake.requests().len() - before, tries);
    }
    // Without the row, no more needs to be asked; and a row that is fed something else is asked for.
    session.select(&[2, 0]).unwrap();
    let before = fake.requests().len();
    session.extend(&[RowFeed::one(6), RowFeed::one(9)]).unwrap();
    assert_eq!(fake.requests().len() - before, 1);
    assert!(fake.requests().len() > asked);
}

#[test]
fn requests_of_rows_overlap_up_to_the_limit() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let fake = Fake::new(Kind::Vllm, move |_, _| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        now.fetch_sub(1, Ordering::SeqCst);
        Reply::Proper
    });
    let engine = fake.remote().parallel(3).open().unwrap().engine(Host, vocab()).unwrap();
    let rows: Vec<_> = (1..10).map(|id| EngineRow { adapter: None, tokens: vec![id] }).collect();
    engine.open(&rows).unwrap();
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}
