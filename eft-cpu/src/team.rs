//! Threads of rayon's pool that help the thread which computes a forward pass.
//!
//! A pass is a sequence of a hundred products or more, each of which is split over the threads. The thread that computes it takes the
//! parts of a product one after another, and threads of the pool take others meanwhile, as far as they are awake: it waits only for
//! parts that another thread has begun. Rayon's own operations move to a thread of the pool first, and wait for it to wake; if other programs keep the
//! processors busy, that takes milliseconds. They also take up unrelated work while they wait for parts of an operation. If that work
//! waits for the pass, the pass never ends.
//!
//! A thread that finds no work falls asleep after a few microseconds, and waking it for the next product takes tens of them. For a model
//! of 100 million parameters, that is a tenth of the pass or more. So helpers look for the next operation of the pass, for a millisecond at
//! most.
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{hint, thread};

/// How often a helper looks for work before it offers its processor to other programs.
const TRIES: usize = 64;
/// How long a helper looks in vain for an operation of its pass. A thread of rayon's pool may begin to help while it waits for another one,
/// which may wait for it in turn, so it must not stay until the pass is over.
const PATIENCE: Duration = Duration::from_millis(1);

thread_local! {
    /// The helpers of the pass that this thread computes.
    static TEAM: RefCell<Option<Arc<Team>>> = const { RefCell::new(None) };
    /// Whether this thread computes a pass, or helps with one.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Calls a function that computes a forward pass. Until it returns, threads of rayon's pool that have helped with an operation of this crate
/// look for the next one for up to a millisecond before they fall asleep. The function runs on the thread that calls it, so passes on several threads take
/// that many threads besides those of the pool.
///
/// ```
/// use eft_cpu::{Matrix, pass, products};
/// use eft_models::{Dtype, RawTensor};
///
/// let bytes = vec![0; 4 * 64 * 64].into();
/// let raw = RawTensor { name: "w", shape: vec![64, 64], dtype: Dtype::F32, bytes };
/// if let Some(matrix) = Matrix::new(&raw) {
///     let out = pass(|| (0..10).fold(vec![1.0; 64], |x, _| products(&x, &[&matrix]).remove(0)));
///     assert_eq!(out, [0.0; 64]);
/// }
/// ```
pub fn pass<T>(function: impl FnOnce() -> T) -> T {
    /// Ends the pass, also after a panic.
    struct End(Arc<Team>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.over.store(true, Ordering::Release);
            TEAM.set(None);
        }
    }
    if is_present() {
        return function();
    }
    let team = Arc::new(Team::default());
    TEAM.set(Some(team.clone()));
    let _end = End(team);
    busy(function)
}

/// Whether this thread computes a [`pass`].
pub(crate) fn is_present() -> bool {
    TEAM.with_borrow(Option::is_some)
}

/// Calls a function on this thread, and another on up to `others` threads that help as long as the first has not returned. Waits until
/// these threads have returned, too.
pub(crate) fn share(others: usize, own: impl FnOnce(), help: &(dyn Fn() + Sync)) {
    pass(|| match TEAM.with_borrow(Clone::clone) {
        Some(team) => team.share(others, own, help),
        None => own(),
    });
}

/// What the thread that computes a pass and its helpers share.
#[derive(Default)]
struct Team {
    /// Whether the pass is over.
    over: AtomicBool,
    /// The helpers that look for work, or are about to.
    present: AtomicUsize,
    /// How many operations were offered so far.
    offered: AtomicUsize,
    /// The helpers that have taken up the present operation.
    inside: AtomicUsize,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    /// What helpers do; nothing between operations.
    help: Option<Help>,
    /// A panic of a helper.
    panic: Option<Box<dyn Any + Send>>,
}

/// A function of the thread that computes the pass, which is valid as long as [`Team::share`] has not returned.
#[derive(Clone, Copy)]
struct Help(*const (dyn Fn() + Sync));

// SAFETY: it points to a function that may be called by several threads at once.
#[allow(unsafe_code, reason = "a pointer to a function of several threads")]
unsafe impl Send for Help {}

impl Team {
    fn share(self: Arc<Self>, others: usize, own: impl FnOnce(), help: &(dyn Fn() + Sync)) {
        /// Withdraws the work and waits for the helpers that have taken it up, also after a panic.
        struct Withdraw<'a>(&'a Team);
        impl Drop for Withdraw<'_> {
            fn drop(&mut self) {
                self.0.work().help = None;
                let mut tries = 0;
                while self.0.inside.load(Ordering::Acquire) > 0 {
                    wait(&mut tries);
                }
            }
        }
        // SAFETY: this only forgets how long `help` may be called. Helpers call it in `Team::help` alone. They find it in `work`, and are
        // counted in `inside` before they release that lock. `Withdraw` takes it out under the same lock, so that no helper begins
        // later, and waits until none is inside. It does so before this function returns, even by a panic.
        #[allow(unsafe_code, reason = "threads that are not scoped call a function that is borrowed")]
        let help = Help(unsafe {
            std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const (dyn Fn() + Sync)>(help)
        });
        *self.work() = Work { help: Some(help), panic: None };
        self.offered.fetch_add(1, Ordering::Release);
        let withdraw = Withdraw(&self);
        for _ in self.present.load(Ordering::Relaxed)..others {
            self.present.fetch_add(1, Ordering::Relaxed);
            let team = self.clone();
            rayon::spawn(move || team.look_for_work());
        }
        own();
        drop(withdraw);
        let panic = self.work().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic)
        }
    }

    /// Helps until the pass is over, or there has been no work for a while.
    fn look_for_work(&self) {
        // A thread that waits inside rayon takes up whatever it finds. If it computes a pass or helps with one, that must not wait for the
        // end of another: it helps with one operation, which waits for nothing.
        if !BUSY.get() {
            busy(|| {
                let (mut seen, mut tries, mut worked) = (0, 0, Instant::now());
                while !self.over.load(Ordering::Acquire) {
                    let offered = self.offered.load(Ordering::Acquire);
                    if offered != seen {
                        seen = offered;
                        self.help();
                        (tries, worked) = (0, Instant::now());
                        continue;
                    }
                    // Other work is no reason to stay: this pass may wait for this thread.
                    if rayon::yield_now() == Some(rayon::Yield::Executed) {
                        tries = 0;
                    }
                    wait(&mut tries);
                    if tries >= TRIES && worked.elapsed() >= PATIENCE {
                        break;
                    }
                }
            });
        } else {
            self.help();
        }
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    /// Helps with the present operation, if there is one.
    #[allow(unsafe_code, reason = "the work is borrowed by a thread that waits for its helpers")]
    fn help(&self) {
        let help = {
            let work = self.work();
            let Some(help) = work.help else { return };
            self.inside.fetch_add(1, Ordering::Relaxed);
            help
        };
        // SAFETY: `Team::share` does not return before this helper, which it finds in `inside`, has left.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*help.0)() }));
        if let Err(panic) = done {
            self.work().panic = Some(panic);
        }
        self.inside.fetch_sub(1, Ordering::Release);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a moment pass: first a very short one, then one in which other programs can run.
fn wait(tries: &mut usize) {
    if *tries < TRIES {
        *tries += 1;
        hint::spin_loop();
    } else {
        thread::yield_now();
    }
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
