//! The rows of the model's session: each holds one token sequence of a text.
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::node::{Node, NodeRow};
use super::settings::Work;
use super::walk::Walker;
use crate::backend::{Backend, ScoreRow};
use crate::{Error, Form, Result, RowFeed, Scores, Session, TokenId};

/// The model's session, whose rows are called lanes here.
pub(super) struct Lanes<B: Backend> {
    session: Box<dyn Session<Backend = B>>,
    backend: B,
    lanes: Vec<Lane>,
    /// The sequences that have a distribution, in the order in which they were run.
    recent: VecDeque<Arc<Node>>,
    work: Work,
}

/// A row of the model's session.
#[derive(Clone)]
struct Lane {
    /// The text whose sequences it holds.
    row: usize,
    /// The sequence that it holds now.
    at: Arc<Node>,
}

/// The lane to hold a sequence, and what it is fed.
struct Job {
    row: usize,
    /// Which of the present lanes it is, or is a copy of.
    lane: usize,
    /// The sequence that it goes back to.
    from: Arc<Node>,
    path: Vec<Arc<Node>>,
    /// The number of the last sequences on the path whose distributions are wanted.
    wanted: usize,
}

/// The most sequences of one text that are run in one pass. Others wait for the next one.
const MOST_JOBS: usize = 8;

/// How many tokens a lane may be behind another one and still be fed these, rather than become a copy of the other.
const MOST_BEHIND: usize = 4;

/// The most lanes, of all texts together, that texts with fewer jobs keep.
const MOST_SPARE: usize = 6;

/// The least number of scores that a thread is woken for, to compute distributions from them. For fewer, waking it takes longer.
const EACH_THREAD: usize = 1 << 19;

/// How many distributions are kept for each text.
const KEPT: usize = 24;

impl<B: Backend> Lanes<B> {
    /// Wraps a session that was opened with one row for each text. `roots` are the sequences that the rows hold.
    pub(super) fn new(
        session: Box<dyn Session<Backend = B>>,
        backend: B,
        roots: impl IntoIterator<Item = Arc<Node>>,
        work: Work,
    ) -> Self {
        let lanes = roots.into_iter().enumerate().map(|(row, at)| Lane { row, at }).collect();
        Self { session, backend, lanes, recent: VecDeque::new(), work }
    }

    /// How many tokens each text can have, with those before its root.
    pub(super) fn most_tokens(&self, texts: usize) -> Vec<usize> {
        let mut most = vec![0; texts];
        for (lane, room) in self.lanes.iter().zip(self.session.room()) {
            most[lane.row] = room.saturating_add(lane.at.depth());
        }
        most
    }

    /// Reports whether the session can still be used.
    pub(super) fn check(&mut self) -> Result<()> {
        self.session.rollback(&vec![0; self.lanes.len()])
    }

    /// Makes text `i` a copy of the former text `rows[i]`, with at most `most` of its lanes.
    pub(super) fn select(&mut self, rows: &[usize], most: usize) -> Result<()> {
        let mut of_rows = self.of_rows();
        // Of lanes that are not all needed, those that hold most.
        let longest = |lane: &usize| std::cmp::Reverse(self.lanes[*lane].at.depth());
        of_rows.iter_mut().for_each(|lanes| lanes.sort_by_key(longest));
        let lanes_of = |row: &usize| of_rows.get(*row).filter(|lanes| !lanes.is_empty());
        let of_texts: Option<Vec<&Vec<usize>>> = rows.iter().map(lanes_of).collect();
        let of_texts = of_texts.ok_or_else(|| Error::shape("rows of the model", "one for each text", 0))?;
        let of_text = |(row, lanes): (usize, &Vec<usize>)| {
            lanes.iter().take(most).map(move |lane| (row, *lane)).collect::<Vec<_>>()
        };
        let chosen: Vec<_> = of_texts.into_iter().enumerate().flat_map(of_text).collect();
        self.session.select(&chosen.iter().map(|(_, lane)| *lane).collect::<Vec<_>>())?;
        let lane = |(row, lane): &(usize, usize)| Lane { row: *row, ..self.lanes[*lane].clone() };
        self.lanes = chosen.iter().map(lane).collect();
        Ok(())
    }

    /// The lanes of each text; at least one.
    fn of_rows(&self) -> Vec<Vec<usize>> {
        let rows = self.lanes.iter().map(|lane| lane.row + 1).max().unwrap_or(0);
        let mut of_rows = vec![Vec::new(); rows];
        self.lanes.iter().enumerate().for_each(|(index, lane)| of_rows[lane.row].push(index));
        of_rows
    }

    /// Runs the model on sequences that lack a distribution: those of each text. `live` are the sequences of each text that
    /// may get longer; lanes that are needed for them are kept.
    pub(super) fn run(
        &mut self,
        walker: &Walker,
        controls: &[Vec<TokenId>],
        lacking: &[Vec<Arc<Node>>],
        live: &[Vec<Arc<Node>>],
    ) -> Result<()> {
        let jobs = self.jobs(lacking);
        let jobs = self.arrange(jobs, live)?;
        let (mut drop, mut feeds) = (vec![0; self.lanes.len()], vec![RowFeed::none(); self.lanes.len()]);
        for job in &jobs {
            drop[job.lane] = self.lanes[job.lane].at.depth() - job.from.depth();
            let tokens = job.path.iter().map(|node| node.token()).collect();
            feeds[job.lane] = RowFeed { tokens, wanted: job.wanted };
        }
        if drop.iter().any(|drop| *drop > 0) {
            self.session.rollback(&drop)?;
            jobs.iter().for_each(|job| self.lanes[job.lane].at = job.from.clone());
        }
        let lanes = &self.lanes;
        let scores = self.session.extend(&feeds).map_err(|error| of_texts(error, lanes))?;
        self.work.pass(feeds.iter().map(|feed| feed.tokens.len()).sum(), self.lanes.len());
        for job in &jobs {
            self.lanes[job.lane].at = job.path.last().unwrap_or(&job.from).clone();
        }
        let nodes: Vec<_> =
            jobs.iter().flat_map(|job| &job.path[job.path.len() - job.wanted..]).cloned().collect();
        self.record(walker, controls, &nodes, &scores)?;
        self.recent.extend(nodes);
        Ok(())
    }

    /// Stores the distributions after sequences, from the scores of all lanes, in their order.
    pub(super) fn record(
        &self,
        walker: &Walker,
        controls: &[Vec<TokenId>],
        nodes: &[Arc<Node>],
        scores: &Scores<B>,
    ) -> Result<()> {
        if scores.form() == Form::Partial {
            return Err(Error::PartialRows { rule: "bytes".into(), term: walker.name.clone() });
        }
        let rows: Vec<ScoreRow<'_, B>> = (0..scores.rows()).flat_map(|lane| scores.positions(lane)).collect();
        let width = scores.width();
        if rows.len() != nodes.len() {
            return Err(Error::shape(format!("scores of `{}`", walker.name), nodes.len(), rows.len()));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut values = self.backend.download(&rows, width)?;
        let each =
            nodes.par_iter().zip(values.par_chunks_mut(width)).with_min_len((EACH_THREAD / width).max(1));
        each.for_each(|(node, scores)| {
            let allowed = walker.allowed(node.state());
            let may_end = walker.canonical.may_end(node.state());
            let row = NodeRow::new(&walker.lexicon, scores, &allowed, controls, may_end);
            node.set_row(Some(Arc::new(row)));
        });
        Ok(())
    }

    /// Forgets the oldest distributions, in a batch of this number of texts, but for those of `live` sequences. Those of roots, which
    /// cannot be computed again, are not among the recent ones.
    pub(super) fn forget(&mut self, texts: usize, live: &[Vec<Arc<Node>>]) {
        let excess = self.recent.len().saturating_sub(KEPT * texts.max(1));
        let live: HashSet<_> = live.iter().flatten().map(Arc::as_ptr).collect();
        let oldest = self.recent.drain(..excess);
        let (kept, forgotten): (Vec<_>, Vec<_>) = oldest.partition(|node| live.contains(&Arc::as_ptr(node)));
        forgotten.iter().for_each(|node| node.set_row(None));
        kept.into_iter().rev().for_each(|node| self.recent.push_front(node));
    }

    fn jobs(&self, lacking: &[Vec<Arc<Node>>]) -> Vec<Job> {
        let mut jobs = Vec::new();
        for ((row, nodes), lanes) in lacking.iter().enumerate().zip(self.of_rows()) {
            let mut nodes: Vec<_> = nodes.clone();
            // The longest sequences first: the distributions along their paths come with them.
            nodes.sort_by_key(|node| std::cmp::Reverse(node.depth()));
            nodes.dedup_by(|a, b| Arc::ptr_eq(a, b));
            let mut free = lanes.clone();
            let mut count = 0;
            while let Some(last) = nodes.first().cloned()
                && count < MOST_JOBS
            {
                count += 1;
                let on_path = |node: &Arc<Node>| Arc::ptr_eq(&Node::common(node, &last), node);
                let lacked: Vec<_> = nodes.iter().filter(|node| on_path(node)).cloned().collect();
                nodes.retain(|node| !on_path(node));
                let first = lacked.iter().map(|node| node.depth()).min().unwrap_or(last.depth());
                // A lane of its own if one holds nearly as much of the sequence as any, else a copy of the one that does.
                let shared = |lane: &usize| Node::common(&self.lanes[*lane].at, &last).depth();
                let Some(best) = lanes.iter().copied().max_by_key(shared) else { break };
                let own = free.iter().copied().max_by_key(shared);
                let lane = own.filter(|own| shared(own) + MOST_BEHIND >= shared(&best)).unwrap_or(best);
                free.retain(|other| *other != lane);
                let common = Node::common(&self.lanes[lane].at, &last);
                let mut from = common;
                while from.depth() >= first
                    && let Some(parent) = from.parent().cloned()
                {
                    from = parent;
                }
                let path = last.path(&from);
                jobs.push(Job { row, lane, from, wanted: last.depth() + 1 - first, path });
            }
        }
        jobs
    }

    /// Gives each job a lane of its own, and drops lanes that are not worth keeping. Returns the jobs in the order of their lanes.
    fn arrange(&mut self, mut jobs: Vec<Job>, live: &[Vec<Arc<Node>>]) -> Result<Vec<Job>> {
        let busy: HashSet<_> = jobs.iter().map(|job| job.row).collect();
        let idle = (0..self.lanes.len()).filter(|lane| !busy.contains(&self.lanes[*lane].row));
        let mut kept: Vec<_> = idle.chain(self.kept(&jobs, live)).chain(self.spare(&jobs)).collect();
        kept.sort_unstable();
        kept.dedup();
        let first_job = kept.len();
        let chosen: Vec<_> = kept.into_iter().chain(jobs.iter().map(|job| job.lane)).collect();
        let mut sorted = chosen.clone();
        sorted.sort_unstable();
        if sorted.into_iter().ne(0..self.lanes.len()) {
            self.session.select(&chosen)?;
            self.lanes = chosen.iter().map(|lane| self.lanes[*lane].clone()).collect();
            (first_job..).zip(&mut jobs).for_each(|(lane, job)| job.lane = lane);
        }
        jobs.sort_by_key(|job| job.lane);
        Ok(jobs)
    }

    /// The lanes of texts with jobs that later jobs can use, so that no other has to be copied.
    fn spare(&self, jobs: &[Job]) -> Vec<usize> {
        let of_rows = self.of_rows();
        let mut spare = Vec::new();
        for (row, lanes) in of_rows.iter().enumerate() {
            let of_row: Vec<_> = jobs.iter().filter(|job| job.row == row).collect();
            let Some(job) = of_row.first() else { continue };
            let is_near = |lane: &&usize| {
                let common = Node::common(&self.lanes[**lane].at, &job.from).depth();
                common + MOST_BEHIND >= job.from.depth() && of_row.iter().all(|job| job.lane != **lane)
            };
            let room = (MOST_SPARE / of_rows.len()).saturating_sub(of_row.len());
            spare.extend(lanes.iter().filter(is_near).take(room));
        }
        spare
    }

    /// The lanes of texts with jobs that hold more of a live sequence than the lanes of the jobs will.
    fn kept(&self, jobs: &[Job], live: &[Vec<Arc<Node>>]) -> Vec<usize> {
        let mut kept = Vec::new();
        for ((row, lanes), live) in self.of_rows().iter().enumerate().zip(live) {
            let of_row = jobs.iter().filter(|job| job.row == row);
            let mut by_jobs = HashMap::new();
            of_row.filter_map(|job| job.path.last()).for_each(|last| hold(&mut by_jobs, last, 0));
            if by_jobs.is_empty() {
                continue;
            }
            let mut by_lanes = HashMap::new();
            lanes.iter().for_each(|lane| hold(&mut by_lanes, &self.lanes[*lane].at, *lane));
            for node in live {
                let held = |node: &Arc<Node>| match by_jobs.contains_key(&Arc::as_ptr(node)) {
                    true => Some(None),
                    false => by_lanes.get(&Arc::as_ptr(node)).map(|lane| Some(*lane)),
                };
                kept.extend(beginnings(node).find_map(held).flatten());
            }
        }
        kept
    }
}

/// A sequence and those that it begins with, the longest first.
fn beginnings(node: &Arc<Node>) -> impl Iterator<Item = &Arc<Node>> {
    std::iter::successors(Some(node), |node| node.parent())
}

/// Records that a lane holds a sequence and those that it begins with, unless another one does.
fn hold(held: &mut HashMap<*const Node, usize>, node: &Arc<Node>, lane: usize) {
    for node in beginnings(node) {
        if held.contains_key(&Arc::as_ptr(node)) {
            break;
        }
        held.insert(Arc::as_ptr(node), lane);
    }
}

/// The error of a session in terms of the texts.
fn of_texts(error: Error, lanes: &[Lane]) -> Error {
    let text = |lane: usize| lanes.get(lane).map_or(lane, |lane| lane.row);
    match error {
        Error::RowFailed { row, source } => Error::RowFailed { row: text(row), source },
        Error::ContextFull { term, row, asked, room } => {
            Error::ContextFull { term, row: text(row), asked, room }
        }
        other => other,
    }
}
