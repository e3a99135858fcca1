//! [`Worker`]: the loop of the thread that decodes.
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eft::Error;

use super::job::{Failure, Job, Task, Update};
use super::scoring::Scoring;
use super::scorings::Scorings;
use super::texts::{Begun, Texts};
use super::{Shared, State};

/// The thread's own data.
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// What runs, in the order of turns.
    running: VecDeque<Running>,
    /// Batches whose texts have all ended, kept for the caches of their models; the last one ended last.
    idle: VecDeque<Box<Texts>>,
}

enum Running {
    Texts(Box<Texts>),
    Scorings(Box<Scorings>),
}

/// How long the thread sleeps at most while there is nothing to do. Jobs that are cancelled while they wait leave the queue
/// only when it wakes up.
const NAP: Duration = Duration::from_secs(1);

/// The most batches that are kept without a text. Each formula has a batch of its own.
const IDLE: usize = 4;

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, running: VecDeque::new(), idle: VecDeque::new() }
    }

    /// Works until the server stops.
    pub(super) fn run(mut self) {
        while let Some((jobs, stop)) = self.next_jobs() {
            self.admit(jobs);
            self.sweep(stop);
            self.step();
            self.shared.metrics.rows.set(self.rows() as i64);
            self.shared.metrics.batches.set(self.running.len() as i64);
        }
    }

    /// Waits for something to do. Returns the jobs to begin, and whether everything is to be ended; `None` once the server has
    /// stopped.
    fn next_jobs(&self) -> Option<(Vec<Job>, bool)> {
        let mut state = self.shared.state();
        loop {
            let now = Instant::now();
            let stop = state.stop_at.is_some_and(|at| now >= at);
            self.end_waiting(&mut state, now, stop);
            let (mut jobs, mut room) = (Vec::new(), self.shared.limits.rows.saturating_sub(self.rows()));
            while let Some(job) = state.queue.pop(room) {
                room -= job.answers();
                jobs.push(job);
            }
            self.shared.metrics.waiting.set(state.queue.len() as i64);
            if !jobs.is_empty() || !self.running.is_empty() {
                return Some((jobs, stop));
            }
            if state.stop_at.is_some() && state.queue.len() == 0 {
                return None;
            }
            state = match self.shared.wake.wait_timeout(state, NAP) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends jobs that wait: those that nobody waits for, and those whose time is up.
    fn end_waiting(&self, state: &mut State, now: Instant, stop: bool) {
        for job in state.queue.extract(|job| stop || job.is_cancelled() || now >= job.deadline) {
            if job.is_cancelled() {
                self.shared.metrics.cancelled.inc_by(job.answers() as u64);
            }
            job.fail(if stop { &Failure::Shutdown } else { &Failure::Deadline });
        }
    }

    /// The number of texts that have not ended.
    fn rows(&self) -> usize {
        let rows = |running: &Running| match running {
            Running::Texts(texts) => texts.rows(),
            Running::Scorings(scorings) => scorings.texts(),
        };
        self.running.iter().map(rows).sum()
    }

    /// Begins jobs: texts with those that have the same key, in a batch.
    fn admit(&mut self, jobs: Vec<Job>) {
        let (mut texts, mut given): (Vec<Begun>, Vec<Scoring>) = (Vec::new(), Vec::new());
        for job in jobs {
            match job.task.clone() {
                Task::Generate(generate) => match Begun::new(job, generate) {
                    Ok(begun) => texts.push(begun),
                    Err(returned) => {
                        let (job, error) = *returned;
                        job.fail(&Failure::Models(Arc::new(error)));
                    }
                },
                Task::Score(score) => given.push(Scoring::new(job, score)),
            }
        }
        self.score(given);
        while let Some(first) = texts.first() {
            let key = first.key();
            let (same, others) = texts.into_iter().partition(|begun| begun.key() == key);
            texts = others;
            if let Some(index) = self.idle.iter().position(|texts| texts.key == key) {
                self.running.extend(self.idle.remove(index).map(Running::Texts));
            }
            let running = self.running.iter_mut().find_map(|running| match running {
                Running::Texts(texts) if texts.key == key => Some(texts),
                _ => None,
            });
            match running {
                None => self.open(same),
                Some(texts) => {
                    let count = same.len();
                    if let Err(returned) = texts.join(same) {
                        self.apart(*returned, count);
                    }
                }
            }
        }
    }

    /// Begins to score texts: with those of the same combination, in a batch.
    fn score(&mut self, mut texts: Vec<Scoring>) {
        while let Some(combination) = texts.first().map(|text| text.job.combination()) {
            let (same, others) = texts.into_iter().partition(|text| text.job.combination() == combination);
            texts = others;
            let running = self.running.iter_mut().find_map(|running| match running {
                Running::Scorings(scorings) if scorings.is_of(&combination) => Some(scorings),
                _ => None,
            });
            match running {
                None => self.open_scorings(same),
                Some(scorings) => {
                    if let Err(returned) = scorings.join(same) {
                        self.score_apart(*returned, usize::MAX);
                    }
                }
            }
        }
    }

    /// Opens a batch of texts to be scored. If that fails, each of them gets a batch of its own.
    fn open_scorings(&mut self, texts: Vec<Scoring>) {
        let count = texts.len();
        match Scorings::open(texts, self.shared.limits, self.shared.metrics.clone()) {
            Ok(scorings) => self.running.push_back(Running::Scorings(Box::new(scorings))),
            Err(returned) => self.score_apart(*returned, count),
        }
    }

    /// Begins the texts of a batch that has failed anew, each by itself. A text that was by itself has failed.
    fn score_apart(&mut self, (texts, error): (Vec<Scoring>, Error), together: usize) {
        let error = Arc::new(error);
        for text in texts {
            match together {
                1 => text.fail(&error),
                _ => self.open_scorings(vec![text]),
            }
        }
    }

    /// Opens a batch. If that fails, each of its jobs gets a batch of its own, so that only those fail which are at fault.
    fn open(&mut self, jobs: Vec<Begun>) {
        let count = jobs.len();
        match Texts::open(jobs, self.shared.limits, self.shared.draft.as_ref(), self.shared.metrics.clone()) {
            Ok(texts) => self.running.push_back(Running::Texts(Box::new(texts))),
            Err(returned) => self.apart(*returned, count),
        }
    }

    /// Begins the jobs of a batch that has failed anew, each by itself. A job that was by itself has failed.
    fn apart(&mut self, (jobs, error): (Vec<Begun>, Error), together: usize) {
        let error = Arc::new(error);
        for mut begun in jobs {
            match together {
                1 => begun.end_all(&Update::Failed(Failure::Models(error.clone()))),
                _ => self.open(vec![begun]),
            }
        }
    }

    /// Ends what nobody waits for, and what has no more time.
    fn sweep(&mut self, stop: bool) {
        let now = Instant::now();
        for _ in 0..self.running.len() {
            let Some(mut running) = self.running.pop_front() else { return };
            let going_on = match &mut running {
                Running::Texts(texts) => match texts.sweep(now, stop) {
                    Ok(()) if texts.rows() == 0 => {
                        self.keep(running);
                        continue;
                    }
                    Ok(()) => true,
                    Err(returned) => {
                        self.apart(*returned, usize::MAX);
                        false
                    }
                },
                Running::Scorings(scorings) => match scorings.sweep(now, stop) {
                    Ok(()) => scorings.texts() > 0,
                    Err(returned) => {
                        self.score_apart(*returned, usize::MAX);
                        false
                    }
                },
            };
            if going_on {
                self.running.push_back(running);
            }
        }
    }

    /// Keeps a batch whose texts have all ended.
    fn keep(&mut self, ended: Running) {
        if let (Running::Texts(texts), true) = (ended, self.shared.limits.cached_tokens > 0) {
            self.idle.push_back(texts);
            self.idle.drain(..self.idle.len().saturating_sub(IDLE));
        }
    }

    /// Steps what has its turn.
    fn step(&mut self) {
        let Some(mut running) = self.running.pop_front() else { return };
        match &mut running {
            Running::Texts(texts) => {
                let together = texts.jobs();
                match texts.step() {
                    Ok(()) if texts.rows() == 0 => self.keep(running),
                    Ok(()) => self.running.push_back(running),
                    Err(returned) => self.apart(*returned, together),
                }
            }
            Running::Scorings(scorings) => {
                let together = scorings.texts();
                match scorings.step() {
                    Ok(()) if scorings.texts() == 0 => {}
                    Ok(()) => self.running.push_back(running),
                    Err(returned) => self.score_apart(*returned, together),
                }
            }
        }
    }
}
