//! Running what is missing: which tokens each session must be fed so that the positions asked for have scores.
use std::ops::Range;

use super::Evaluator;
use super::open::for_each;
use super::plan::Rows;
use crate::backend::Backend;
use crate::{Error, Result, RowFeed, Scores, Session};

/// What a session is to do.
struct Job {
    session: usize,
    /// Tokens to drop first: positions whose scores were forgotten are computed again.
    rewind: Vec<usize>,
    feed: Vec<RowFeed>,
    /// What becomes of the rows of each stream that takes part.
    blocks: Vec<Block>,
}

struct Block {
    stream: usize,
    /// For each row of the batch.
    moves: Vec<Move>,
}

/// What becomes of one row of a stream.
#[derive(Clone, Copy)]
struct Move {
    /// Tokens fed before and after.
    from: usize,
    to: usize,
    /// The first position that is scored.
    start: usize,
    /// The prompt's last token is fed again, before all others: its own scores are wanted.
    again: bool,
}

impl<B: Backend> Evaluator<B> {
    /// Makes sure that the streams have scores at the positions. Everything is checked before anything is run; a
    /// model that fails then leaves the others ahead, which the next call makes up for.
    pub(super) fn run(&mut self, streams: &[usize], at: &[Range<usize>]) -> Result<()> {
        let mut jobs = Vec::new();
        for session in 0..self.sessions.len() {
            if let Some(job) = self.job(session, streams, at)? {
                jobs.push(job);
            }
        }
        let mut of_session: Vec<_> = self.sessions.iter_mut().map(|r| Some(&mut r.session)).collect();
        let tasks = jobs.iter().filter_map(|job| Some((of_session[job.session].take()?, job))).collect();
        let outcomes = for_each(tasks, self.options.parallel, |(session, job)| job.run(&mut **session));
        let mut first_error = None;
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let error = match outcome {
                Ok(scores) => self.advance(&job, scores).err(),
                Err((rewound, error)) => {
                    if rewound {
                        self.rewound(&job, &error);
                    }
                    Some(error)
                }
            };
            first_error = first_error.or(error);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// What one session must do; nothing if it has all that is asked of it.
    fn job(&self, session: usize, streams: &[usize], at: &[Range<usize>]) -> Result<Option<Job>> {
        let rows = self.rows();
        let running = &self.sessions[session];
        let all = rows * running.streams.len();
        let mut job =
            Job { session, rewind: vec![0; all], feed: vec![RowFeed::none(); all], blocks: Vec::new() };
        for &index in running.streams.iter().filter(|s| streams.contains(s)) {
            let stream = &self.streams[index];
            let mut moves: Vec<_> =
                stream.fed.iter().map(|&f| Move { from: f, to: f, start: 0, again: false }).collect();
            for (row, (positions, step)) in at.iter().zip(&mut moves).enumerate() {
                let Some(missing) = positions.clone().find(|p| !stream.scores.has(row, *p)) else { continue };
                let last_of_prompt = match (missing, &stream.prompts) {
                    (0, Rows::Ids(prompts)) => prompts[row].last().copied(),
                    (0, Rows::Prompts(_)) => return Err(Error::Forgotten { row, position: 0 }),
                    _ => None,
                };
                let again = last_of_prompt.is_some();
                let from = stream.fed[row].min(missing.saturating_sub(1));
                let of_session = stream.block * rows + row;
                *step = Move { from, to: positions.end - 1, start: missing, again };
                job.rewind[of_session] = stream.fed[row] - from + usize::from(again);
                let pushed = &self.pushed[row][from..positions.end - 1];
                job.feed[of_session] = RowFeed {
                    tokens: last_of_prompt.iter().chain(pushed).copied().collect(),
                    wanted: positions.end - missing,
                };
            }
            job.blocks.push(Block { stream: index, moves });
        }
        if job.feed.iter().all(|f| f.tokens.is_empty()) {
            return Ok(None);
        }
        self.check_job(&job)?;
        Ok(Some(job))
    }

    fn check_job(&self, job: &Job) -> Result<()> {
        let rows = self.rows();
        let running = &self.sessions[job.session];
        let (room, limit) = (running.session.room(), running.session.rollback_limit());
        for (row, (feed, rewind)) in job.feed.iter().zip(&job.rewind).enumerate() {
            let (room, limit) = match (room.get(row), limit.get(row)) {
                (Some(room), Some(limit)) => (room.saturating_add(*rewind), *limit),
                _ => {
                    let what = format!("rows of a session of `{}`", self.streams[running.streams[0]].name);
                    return Err(Error::shape(what, job.feed.len(), room.len()));
                }
            };
            let (term, row) = (&self.streams[running.streams[row / rows]].name, row % rows);
            if *rewind > limit {
                // All that was fed can be rolled back, so it is the prompt that cannot be entered.
                return Err(Error::Forgotten { row, position: 0 });
            }
            if feed.tokens.len() > room {
                return Err(Error::ContextFull { term: term.clone(), row, asked: feed.tokens.len(), room });
            }
        }
        Ok(())
    }

    /// Takes in what a session returned.
    fn advance(&mut self, job: &Job, scores: Scores<B>) -> Result<()> {
        let rows = self.rows();
        let wanted: Vec<_> = job.feed.iter().map(|f| f.wanted).collect();
        let first = &self.streams[job.blocks[0].stream];
        let checked = scores.check(&self.backend, &first.name, &wanted, first.origin.vocab().real());
        for block in &job.blocks {
            let stream = &mut self.streams[block.stream];
            stream.fed = block.moves.iter().map(|m| m.to).collect();
            stream.scores.truncate(block.moves.iter().map(|m| m.from.max(m.start.saturating_sub(1))));
            // The session has taken the tokens even where the scores it gave for them are no good.
            if checked.is_ok() {
                let of_block: Vec<_> = (stream.block * rows..(stream.block + 1) * rows).collect();
                let starts: Vec<_> = block.moves.iter().map(|m| m.start).collect();
                stream.scores.insert(scores.shallow_clone(&self.backend).select(&of_block), &starts);
            }
        }
        checked
    }

    /// A session dropped tokens and then failed to take others.
    fn rewound(&mut self, job: &Job, error: &Error) {
        if job.blocks.iter().flat_map(|b| &b.moves).any(|m| m.again) {
            // It has lost the end of its prompt.
            self.poison = Some(crate::error::with_sources(error));
        }
        for block in &job.blocks {
            let stream = &mut self.streams[block.stream];
            stream.fed = block.moves.iter().map(|m| m.from).collect();
            stream.scores.truncate(stream.fed.iter().copied());
        }
    }
}

impl Job {
    /// On failure, whether tokens had already been dropped.
    fn run<B: Backend>(&self, session: &mut dyn Session<Backend = B>) -> Result<Scores<B>, (bool, Error)> {
        let rewinds = self.rewind.iter().any(|r| *r > 0);
        if rewinds {
            session.rollback(&self.rewind).map_err(|e| (false, e))?;
        }
        session.extend(&self.feed).map_err(|e| (rewinds, e))
    }
}
