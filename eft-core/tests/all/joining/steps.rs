//! What one step of a batch does.
use eft_core::decode::{Event, Request, TextEvent};
use eft_core::{Decoding, Sampling};

use crate::common::*;

fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).max_tokens(4).stop_ids([])
}

#[test]
fn a_long_prompt_is_read_between_the_steps_of_the_others() {
    let (source, counts) = counted("m", 1, &["x"]);
    let source = &source + source.adapter("x").unwrap();
    let decoding = greedy().max_tokens(9).prefill(4);
    let mut batch = source.generate_batch([[1]], decoding).unwrap();
    batch.next().unwrap().unwrap();
    batch.join([vec![2; 11], vec![3, 4], vec![5; 9]]).unwrap();
    counts.take();
    let mut rows = Vec::new();
    while batch.waiting() > 0 {
        let event = batch.next().unwrap().unwrap();
        if event.row() == 0 {
            // A piece of the longest prompt that comes first, the short prompt, and a token of each row, in two models.
            let (_, tokens) = counts.take();
            assert!(tokens <= 2 * (4 + 4 + 2), "{tokens} tokens in one step");
        }
        rows.push(event.row());
    }
    assert_eq!(rows.iter().filter(|row| **row == 0).count(), 5, "{rows:?}");
    let first = |row| rows.iter().position(|r| *r == row);
    assert!(first(2) < first(1), "the short prompt does not wait for the long one: {rows:?}");
}

#[test]
fn a_prompt_that_is_retired_while_it_is_read_is_dropped() {
    let (source, counts) = counted("m", 1, &[]);
    let decoding = greedy().max_tokens(9).prefill(2);
    let mut batch = source.generate_batch([[1]], decoding).unwrap();
    batch.join([vec![2; 9]]).unwrap();
    batch.next().unwrap().unwrap();
    let rows = || counts.rows.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((rows(), batch.waiting()), (2, 1));
    batch.retire(1).unwrap();
    assert_eq!((rows(), batch.waiting()), (1, 0));
    assert_eq!(batch.filter(|event| event.as_ref().unwrap().row() == 0).count(), 9);
}

#[test]
fn steps_have_the_events_of_the_iterator() {
    let source = model("m", 1);
    let requests = || [Request::new([1]), Request::new([2]).until("q"), Request::new([3]).max_tokens(2)];
    let all: Vec<_> = source.generate_batch(requests(), greedy()).unwrap().map(Result::unwrap).collect();
    let mut batch = source.generate_batch(requests(), greedy()).unwrap();
    let mut stepped = vec![batch.next().unwrap().unwrap()];
    assert_eq!(batch.advance().unwrap().len(), 2, "the events that are left come without a step");
    stepped.extend([all[1].clone(), all[2].clone()]);
    while batch.running() > 0 {
        stepped.extend(batch.advance().unwrap());
    }
    assert!(batch.advance().unwrap().is_empty());
    assert_eq!(format!("{stepped:?}"), format!("{all:?}"));

    let texts: Vec<_> = source.generate_batch(requests(), greedy()).unwrap().text().unwrap().collect();
    let mut batch = source.generate_batch(requests(), greedy()).unwrap().text().unwrap();
    let mut stepped = Vec::new();
    while batch.inner().running() > 0 {
        stepped.extend(batch.advance().unwrap());
    }
    assert_eq!(
        format!("{stepped:?}"),
        format!("{:?}", texts.into_iter().map(Result::unwrap).collect::<Vec<TextEvent>>())
    );
}

#[test]
fn a_batch_without_rows_reads_a_long_prompt_step_by_step() {
    let source = model("m", 1);
    let mut batch = source.generate_batch([[1]], greedy().max_tokens(1).prefill(3)).unwrap();
    batch.by_ref().for_each(drop);
    batch.join([vec![2; 8]]).unwrap();
    assert!(batch.advance().unwrap().is_empty());
    batch.join([vec![3]]).unwrap();
    let short: Vec<_> = batch.advance().unwrap().iter().map(Event::row).collect();
    assert_eq!(short, [2, 2], "a short prompt need not wait for its end");
    let long: Vec<_> = batch.advance().unwrap().iter().map(Event::row).collect();
    assert_eq!((long, batch.waiting()), (vec![1, 1], 0));
}

#[test]
fn a_step_that_fails_is_an_error_once() {
    let source = eft_core::from_fn(eft_core::Host, vocab("fails"), |tokens| match tokens.len() {
        1 => Ok(vec![0.0; WIDTH]),
        _ => Err(eft_core::Error::source("fails", "on purpose")),
    });
    let mut batch = source.generate_batch([[1]], greedy()).unwrap();
    assert_eq!(batch.advance().unwrap().len(), 1);
    assert!(batch.advance().is_err());
    assert!(batch.advance().unwrap().is_empty());
}
