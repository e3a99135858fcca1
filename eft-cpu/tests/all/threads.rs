//! Work that several threads share, beside other work of theirs.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use eft_cpu::{Matrix, pass, products};
use eft_models::{Dtype, RawTensor};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

const COLUMNS: usize = 128;

fn matrix() -> Matrix {
    let bytes = vec![0; 640 * COLUMNS * 4].into();
    Matrix::new(&RawTensor { name: "w", shape: vec![640, COLUMNS], dtype: Dtype::F32, bytes }).unwrap()
}

/// Fails if the function does not end.
fn ends(function: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel();
    thread::spawn(move || {
        function();
        ended.send(())
    });
    end.recv_timeout(Duration::from_secs(120)).expect("threads wait forever");
}

/// A thread that has taken a part of a product must not take up other work before the part is done: here that work waits for the
/// product, which would wait for it in turn.
#[test]
fn a_product_ends_before_work_that_waits_for_it() {
    let (matrix, x) = (matrix(), vec![1.0; 8 * COLUMNS]);
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let multiply = move || {
        let caller = rayon::current_thread_index();
        for _ in 0..2_000 {
            let over = Arc::new(AtomicBool::new(false));
            let seen = over.clone();
            rayon::spawn_broadcast(move |context| {
                while Some(context.index()) != caller && !seen.load(Ordering::Acquire) {
                    rayon::yield_now();
                }
            });
            pass(|| products(&x, &[&matrix]));
            over.store(true, Ordering::Release);
        }
    };
    ends(move || pool.install(multiply));
}

/// A thread that takes a part of the work of rayon's iterators waits for parts of that part. It may begin to help with a pass
/// meanwhile, but not until that pass is over, which waits for it.
#[test]
fn a_pass_ends_though_a_part_of_it_is_split_by_parallel_iterators() {
    let (matrix, x) = (matrix(), vec![1.0; 8 * COLUMNS]);
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let passes = move || {
        for _ in 0..500 {
            pass(|| {
                products(&x, &[&matrix]);
                // Helpers are asked for while other threads wait for parts.
                (0..64).into_par_iter().for_each(|part| match part % 4 {
                    0 => drop(products(&x, &[&matrix])),
                    _ => (0..200).for_each(|_| std::hint::spin_loop()),
                });
            });
        }
    };
    ends(move || pool.install(passes));
}

/// Passes on several threads at once give what a pass alone gives.
#[test]
fn passes_of_several_threads_share_helpers() {
    let matrix = {
        let bytes =
            (0..640 * COLUMNS).flat_map(|i| (i as f32 % 7.0 - 3.0).to_le_bytes()).collect::<Vec<_>>().into();
        Matrix::new(&RawTensor { name: "w", shape: vec![640, COLUMNS], dtype: Dtype::F32, bytes }).unwrap()
    };
    let run = move |first: usize| {
        let x: Vec<_> = (0..8 * COLUMNS).map(|i| (first + i) as f32 % 5.0).collect();
        pass(|| (0..20).map(|_| products(&x, &[&matrix]).remove(0)).collect::<Vec<_>>())
    };
    let expected: Vec<_> = (0..4).map(&run).collect();
    for alike in &expected {
        assert!(alike.iter().all(|out| out == &alike[0]));
    }
    ends(move || {
        for _ in 0..100 {
            let outs: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|first| {
                        scope.spawn({
                            let run = &run;
                            move || run(first)
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(outs == expected);
        }
    });
}
