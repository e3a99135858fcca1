//! [`Scoring`]: the log-probabilities of tokens that are given, computed in pieces.
use eft::candle::Candle;
use eft::{Backend, Evaluator, Result, TokenId};

use super::Returned;
use super::job::{End, EndReason, Job, Scored, Update};

/// The most positions that one step scores, so that a long text does not stop the others.
const PIECE: usize = 128;

/// A text that is being scored.
pub(super) struct Scoring {
    pub(super) job: Job,
    evaluator: Evaluator<Candle>,
    tokens: Vec<TokenId>,
    alternatives: usize,
    done: usize,
}

impl Scoring {
    /// Reads the prompt. The job comes back with the error if that fails.
    pub(super) fn open(job: Job, tokens: Vec<TokenId>, alternatives: usize) -> Result<Self, Returned<Job>> {
        match Evaluator::open(&[&job.source], std::slice::from_ref(&job.prompt)) {
            Ok(evaluator) => Ok(Self { job, evaluator, tokens, alternatives, done: 0 }),
            Err(error) => Err(Box::new((job, error))),
        }
    }

    /// Scores the next tokens: whether all have been scored.
    pub(super) fn step(&mut self) -> Result<bool> {
        let at = self.done..(self.done + PIECE).min(self.tokens.len());
        let tokens = &self.tokens[at.clone()];
        let width = self.evaluator.width(0)?;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= width) {
            let term = self.job.source.name();
            return Err(eft::Error::TokenOutOfRange { term, row: 0, token: *token, limit: width });
        }
        self.evaluator.push(&[tokens.to_vec()])?;
        let scores = self.evaluator.eval(0, std::slice::from_ref(&at))?;
        let rows = scores.positions(0);
        let lists: Vec<_> = tokens.iter().map(|token| vec![*token]).collect();
        let backend = self.evaluator.backend();
        let log_probs = backend.log_probs(&rows, &lists, scores.width())?;
        let mut top = match self.alternatives {
            0 => vec![Vec::new(); rows.len()],
            count => backend.top(&rows, count, scores.width())?,
        };
        let mut scored = Vec::new();
        for (index, (id, log_prob)) in tokens.iter().zip(log_probs.iter().flatten()).enumerate() {
            if log_prob.is_nan() {
                return Err(self.evaluator.diagnose(0, 0, at.start + index));
            }
            let top = std::mem::take(&mut top[index]);
            let alternatives = top.into_iter().map(|pick| (pick.token, pick.log_prob)).collect();
            scored.push(Scored { id: *id, log_prob: *log_prob, alternatives });
        }
        self.evaluator.commit();
        self.done = at.end;
        self.send(Update::Scored(scored));
        let done = self.done == self.tokens.len();
        if done {
            self.send(Update::Finished(End { reason: EndReason::Scored, tail: Vec::new() }));
        }
        Ok(done)
    }

    pub(super) fn send(&self, update: Update) {
        // A receiver that is gone needs no update.
        let _ = self.job.updates.send((self.job.first, update));
    }
}
