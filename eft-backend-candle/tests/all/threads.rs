//! Passes of several threads at once, which share the threads of rayon's pool.
use std::thread;

use eft_backend_candle::CandleNn;
use eft_core::{Backend, Engine, EngineRow, TokenId};
use eft_models::{Checkpoint, DecoderEngine};
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
