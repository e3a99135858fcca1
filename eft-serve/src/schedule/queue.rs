//! [`Queue`]: the jobs that wait, in a fair order.
use std::collections::VecDeque;

use super::job::Job;

/// The jobs that wait: bounded, and fair to requests. Each request in turn gets one of its jobs begun, so that a request for a
/// hundred texts does not keep those that come after it waiting.
pub(super) struct Queue {
    /// For each request its jobs, in their order.
    requests: VecDeque<VecDeque<Job>>,
    len: usize,
    limit: usize,
}

impl Queue {
    /// An empty queue for this many jobs.
    pub(super) fn new(limit: usize) -> Self {
        Self { requests: VecDeque::new(), len: 0, limit }
    }

    /// The number of jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds all jobs of a request, or none: whether there was room.
    pub(super) fn push(&mut self, jobs: Vec<Job>) -> bool {
        if jobs.len() > self.limit.saturating_sub(self.len) {
            return false;
        }
        self.len += jobs.len();
        if !jobs.is_empty() {
            self.requests.push_back(jobs.into());
        }
        true
    }

    /// Takes the next job out, unless it has more than `most` answers.
    pub(super) fn pop(&mut self, most: usize) -> Option<Job> {
        if self.requests.front()?.front()?.answers() > most {
            return None;
        }
        let mut jobs = self.requests.pop_front()?;
        let job = jobs.pop_front()?;
        self.len -= 1;
        if !jobs.is_empty() {
            self.requests.push_back(jobs);
        }
        Some(job)
    }

    /// Takes out the jobs for which `ended` holds.
    pub(super) fn extract(&mut self, ended: impl Fn(&Job) -> bool) -> Vec<Job> {
        let mut out = Vec::new();
        for jobs in &mut self.requests {
            let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(jobs).into_iter().partition(&ended);
            *jobs = kept.into();
            out.extend(gone);
        }
        self.requests.retain(|jobs| !jobs.is_empty());
        self.len -= out.len();
        out
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot begin should stop")]
mod tests {
    use std::time::Instant;

    use eft::candle::Candle;
    use eft::{Prompt, Vocab, from_fn};

    use super::*;
    use crate::schedule::{Score, Task};

    fn jobs(range: std::ops::Range<u32>) -> Vec<Job> {
        let vocab = Vocab::new("ab", ["a", "b"]).expect("a vocabulary");
        let source = from_fn(Candle::cpu(), vocab, |_| Ok(vec![0.0, 1.0]));
        let (updates, _) = tokio::sync::mpsc::unbounded_channel();
        let job = |id| Job {
            source: source.clone(),
            prompt: Prompt::from([id]),
            task: Task::Score(Score { tokens: vec![0], alternatives: 0, next: None }),
            first: 0,
            updates: updates.clone(),
            submitted: Instant::now(),
            deadline: Instant::now(),
        };
        range.map(job).collect()
    }

    fn order(mut queue: Queue) -> Vec<Prompt> {
        std::iter::from_fn(|| queue.pop(1).map(|job| job.prompt)).collect()
    }

    #[test]
    fn requests_take_turns() {
        let mut queue = Queue::new(6);
        assert!(queue.push(jobs(0..3)) && queue.push(jobs(10..11)) && queue.push(jobs(20..22)));
        assert_eq!(order(queue), [0, 10, 20, 1, 21, 2].map(|id| Prompt::from([id])));
    }

    #[test]
    fn a_request_is_accepted_as_a_whole_or_not_at_all() {
        let mut queue = Queue::new(3);
        assert!(queue.push(jobs(0..2)));
        assert!(!queue.push(jobs(10..12)));
        assert_eq!(queue.len(), 2);
        assert!(queue.push(jobs(20..21)));
        let gone = queue.extract(|job| job.prompt == Prompt::from([0]));
        assert_eq!((gone.len(), queue.len()), (1, 2));
        assert_eq!(order(queue), [1, 20].map(|id| Prompt::from([id])));
    }
}
