//! Passes of several threads at once, which share the threads of rayon's pool.
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use eft_backend_candle::CandleNn;
use eft_core::{Backend, Engine, EngineRow, TokenId};
use eft_models::{Checkpoint, DecoderEngine, Nn};
use rayon::prelude::*;

use crate::device::candle;

/// The log-prob of the likeliest token after a prompt of 40 tokens, whose pass is split over threads.
fn log_prob(engine: &DecoderEngine<CandleNn>, first: TokenId) -> f32 {
    let row = EngineRow { adapter: None, tokens: (first..first + 40).collect() };
    let (_, scores) = engine.open(&[row]).unwrap();
    let rows = scores.positions(0);
    candle().argmax(&rows, scores.width()).unwrap()[0].log_prob
}

/// A thread that waits for a part of a product takes up other work meanwhile, so passes nest in each other. Two passes that waited for
/// each other's end would wait forever.
#[test]
fn passes_of_several_threads_end_and_give_the_same_scores() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../zoo/base-large");
    let checkpoint = Checkpoint::open(folder).unwrap();
    let engine = DecoderEngine::load(CandleNn::new(candle()), &checkpoint, None).unwrap();
    let firsts = 0..24;
    let alone: Vec<_> = firsts.clone().map(|first| log_prob(&engine, first)).collect();
    let from_outside: Vec<_> = thread::scope(|scope| {
        let engine = &engine;
        let threads: Vec<_> =
            firsts.clone().map(|first| scope.spawn(move || log_prob(engine, first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let from_inside: Vec<_> = firsts.into_par_iter().map(|first| log_prob(&engine, first)).collect();
    assert_eq!([&from_outside, &from_inside], [&alone, &alone]);
}

/// A thread that takes a part of work split by rayon's iterators, as candle's own products are, waits for parts of that part. It must
/// not look for work meanwhile until the pass is over, which waits for it.
#[test]
fn a_pass_ends_though_its_work_is_split_by_parallel_iterators() {
    let pass = || {
        let work = || (0..64).into_par_iter().for_each(|_| (0..200).for_each(|_| std::hint::spin_loop()));
        CandleNn::new(candle()).pass(usize::MAX, || (0..20).for_each(|_| work()));
    };
    let (ended, end) = channel();
    thread::spawn(move || ended.send((0..500).for_each(|_| pass())));
    end.recv_timeout(Duration::from_secs(120)).expect("a pass waits forever");
}
