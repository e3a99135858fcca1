//! Scheduling: one thread decodes, and everything else waits for it without blocking.
//!
//! Models compute on the thread that calls them, so one thread owns all batches. Each [`Job`] is a prompt with its settings.
//! Jobs wait in a bounded queue, are taken into batches in a fair order, and send [`Update`]s over a channel that never
//! blocks. Jobs of one combination share a batch, whatever their settings: one of the texts that are generated, and one of
//! those that are scored. Batches are stepped in turns.
//!
//! A job ends early if its receiver is dropped, if its deadline has passed, or if the server stops: within one step of the
//! models.
mod job;
mod queue;
mod scoring;
mod scorings;
mod texts;
mod worker;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use job::{Attribution, End, EndReason, Failure, Generate, Job, Score, Scored, Task, Update};

use crate::metrics::Metrics;
use crate::models::Source;
use queue::Queue;
use worker::Worker;

/// The most alternatives that can be reported for a position.
pub const MOST_ALTERNATIVES: usize = texts::ALTERNATIVES;

/// The limits of a [`Scheduler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most texts that are generated at once.
    pub rows: usize,
    /// The most prompts that wait.
    pub queue: usize,
    /// How many tokens of long prompts are read between two steps of the other texts.
    pub prefill: usize,
    /// How many tokens the caches of texts that have ended may hold, for each model of a batch.
    pub cached_tokens: usize,
    /// The most texts of a combination for which a model drafts; 0 for none.
    pub drafted_rows: usize,
}

/// A copy of a model that drafts in its place.
#[derive(Debug, Clone)]
pub struct DraftCopy {
    /// The copy.
    pub copy: Source,
    /// The names of the models that it is a copy of. It drafts for the combinations that contain one.
    pub of: BTreeSet<String>,
}

impl DraftCopy {
    /// The copy, if it is one of a model of the source.
    fn of_term(&self, source: &Source) -> Option<&Source> {
        let is_term = source.distinct_models().iter().any(|model| self.of.contains(&model.name()));
        is_term.then_some(&self.copy)
    }
}

/// Why jobs are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full. A place may be free after this time.
    Full {
        /// An estimate, rounded up to seconds.
        retry_after: Duration,
    },
    /// The server stops.
    Stopping,
}

/// The thread that decodes, and the queue before it.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Jobs that come back because of an error, and the error.
type Returned<T> = Box<(T, eft::Error)>;

/// What the thread shares with those who submit jobs.
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    limits: Limits,
    draft: Option<DraftCopy>,
    metrics: Arc<Metrics>,
}

struct State {
    queue: Queue,
    /// When what still runs is ended, once the server stops.
    stop_at: Option<Instant>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half-changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses jobs once the thread has ended, also by a panic: nobody would work on them.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stop_at.get_or_insert_with(Instant::now);
        for job in state.queue.extract(|_| true) {
            job.fail(&Failure::Shutdown);
        }
    }
}

impl Scheduler {
    /// Starts the thread. The copy drafts for the combinations that contain a model that it is a copy of; for others, and without
    /// one, a model of the combination does.
    ///
    /// # Errors
    /// Any error of the operating system.
    pub fn start(limits: Limits, draft: Option<DraftCopy>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let state = State { queue: Queue::new(limits.queue), stop_at: None };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), limits, draft, metrics });
        let worker = Worker::new(shared.clone());
        let decode = {
            let shared = shared.clone();
            move || {
                let _closed = CloseOnDrop(shared);
                worker.run();
            }
        };
        let thread = std::thread::Builder::new().name("decoding".into()).spawn(decode)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Submits all jobs of a request, or none.
    ///
    /// # Errors
    /// [`Refused`] if the queue has no room for all of them, or the server stops.
    pub fn submit(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        let mut state = self.shared.state();
        if state.stop_at.is_some() {
            return Err(Refused::Stopping);
        }
        if !state.queue.push(jobs) {
            self.shared.metrics.refused.inc();
            let rounds = state.queue.len().div_ceil(self.shared.limits.rows.max(1)).max(1);
            let seconds = (rounds as f64 * self.shared.metrics.mean_seconds()).ceil().clamp(1.0, 60.0);
            return Err(Refused::Full { retry_after: Duration::from_secs_f64(seconds) });
        }
        self.shared.metrics.waiting.set(state.queue.len() as i64);
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Returns whether jobs are accepted: neither has the server been told to stop, nor has the thread ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.state().stop_at.is_none()
    }

    /// Ends at once what may still go on after [`stop`](Self::stop), with what there is.
    pub fn hurry(&self) {
        self.shared.state().stop_at = Some(Instant::now());
        self.shared.wake.notify_one();
    }

    /// Accepts no more jobs, and returns when all have ended: by themselves, or after this time with what there is.
    pub fn stop(&self, after: Duration) {
        let stop_at = Instant::now().checked_add(after);
        self.shared.state().stop_at.get_or_insert(stop_at.unwrap_or_else(Instant::now));
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the decoding thread has panicked");
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
