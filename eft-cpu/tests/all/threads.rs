//! Work that is shared by the threads of rayon's pool, beside other work of theirs.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use eft_cpu::{Matrix, products};
use eft_models::{Dtype, RawTensor};
use rayon::ThreadPoolBuilder;

/// A thread that has taken a part of a product must not take up other work before the part is done: here that work waits for the
/// product, which would wait for it in turn.
#[test]
fn a_product_ends_before_work_that_waits_for_it() {
    let (outputs, columns, rows) = (640, 128, 8);
    let bytes = vec![0; outputs * columns * 4].into();
    let raw = RawTensor { name: "w", shape: vec![outputs, columns], dtype: Dtype::F32, bytes };
    let (matrix, x) = (Matrix::new(&raw).unwrap(), vec![1.0; rows * columns]);
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
            products(&x, &[&matrix]);
            over.store(true, Ordering::Release);
        }
    };
    let (ended, end) = channel();
    thread::spawn(move || ended.send(pool.install(multiply)));
    end.recv_timeout(Duration::from_secs(120)).expect("a product waits forever");
}
