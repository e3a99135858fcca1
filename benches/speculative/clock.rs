//! Measures the time that is spent in the models' passes, to separate it from everything else.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use eft_core::{Backend, Draws, Engine, EngineRow, EngineSpec, Opened, Result, RowFeed, Scores, Session};

/// The time spent in passes, without those that open sessions. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 * 1e-9
    }

    /// The seconds that some work spends in passes.
    pub(crate) fn of(&self, work: impl FnOnce()) -> f64 {
        let before = self.seconds();
        work();
        self.seconds() - before
    }
}

/// An engine whose passes are measured by a clock.
pub(crate) struct Timed<E> {
    engine: E,
    clock: Clock,
}

impl<E> Timed<E> {
    pub(crate) fn new(engine: E, clock: &Clock) -> Self {
        Self { engine, clock: clock.clone() }
    }
}

impl<E: Engine> Engine for Timed<E> {
    type Backend = E::Backend;

    fn spec(&self) -> &EngineSpec<E::Backend> {
        self.engine.spec()
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<E::Backend>> {
        let (session, scores) = self.engine.open(rows)?;
        Ok((Box::new(TimedSession { session, clock: self.clock.clone() }), scores))
    }
}

struct TimedSession<B: Backend> {
    session: Box<dyn Session<Backend = B>>,
    clock: Clock,
}

impl<B: Backend> Session for TimedSession<B> {
    type Backend = B;

    fn rollback_limit(&self) -> Vec<usize> {
        self.session.rollback_limit()
    }

    fn room(&self) -> Vec<usize> {
        self.session.room()
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<B>> {
        let began = Instant::now();
        let scores = self.session.extend(feed);
        self.clock.0.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        scores
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.session.rollback(drop)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.session.select(rows)
    }

    fn foresee(&mut self, draws: Draws<'_>) {
        self.session.foresee(draws);
    }
}
