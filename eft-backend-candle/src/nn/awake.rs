//! Keeps the threads of rayon's pool awake during a forward pass.
//!
//! A pass is a sequence of a hundred products or more, each of which is split over the threads. A thread that finds no work falls
//! asleep after a few microseconds, and waking it for the next product takes tens of them. For a model of 100 million parameters,
//! that is a tenth of the pass or more.
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{hint, thread};

/// How often a thread looks for work before it offers its processor to other programs.
const TRIES: usize = 64;
/// How long a thread looks for work in vain. The products of a pass follow each other sooner. A thread may begin to look while it waits
/// for another that waits for it, so it must not look until the pass is over: candle's own products of matrices, which passes use for
/// weights that are stored transposed, are shared by such threads.
const PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    /// Whether this thread runs a pass, or waits for the work of one.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Sets a flag when it is dropped.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Calls a function on this thread, which must be one of rayon's pool. Until it returns, the other threads of the pool look for work
/// without falling asleep.
pub(super) fn during<T>(function: impl FnOnce() -> T) -> T {
    let done = Done(Arc::new(AtomicBool::new(false)));
    let flag = done.0.clone();
    // One job for each thread, which no other thread can take. Not in a scope, which would wait for a thread that has begun the work of
    // another pass meanwhile.
    rayon::spawn_broadcast(move |_| look_for_work(&flag));
    busy(function)
}

/// Does the work that others hand over, until `done` is set or there has been none for a while.
fn look_for_work(done: &AtomicBool) {
    // A thread that waits for a part of a product takes up whatever it finds. If it has a pass of its own, that pass must not wait here
    // until another one is over: two passes that waited for each other would never end.
    if BUSY.get() {
        return;
    }
    busy(|| {
        let (mut tries, mut worked) = (0, Instant::now());
        while !done.load(Ordering::Acquire) {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                (tries, worked) = (0, Instant::now());
            } else if tries < TRIES {
                tries += 1;
                hint::spin_loop();
            } else if worked.elapsed() > PATIENCE {
                return;
            } else {
                thread::yield_now();
            }
        }
    });
}

/// Calls a function on a thread that is marked as [`BUSY`] meanwhile.
fn busy<T>(function: impl FnOnce() -> T) -> T {
    /// Restores the mark, also after a panic.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            BUSY.set(self.0);
        }
    }
    let _restore = Restore(BUSY.replace(true));
    function()
}
