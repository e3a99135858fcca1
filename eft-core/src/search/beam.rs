//! The search itself.
use std::ops::ControlFlow;

use super::{Candidate, Continuation, Found, Judge, Proposals, Settings};
use crate::check;
use crate::decode::FinishReason;
use crate::{Error, Result, Vocab};

/// What a search is at after each chunk.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Chunks written so far.
    pub rounds: usize,
    /// Tokens drawn so far, over all rows.
    pub drawn: usize,
    /// The rows that go on and the texts that were kept, best first.
    pub beam: &'a [Candidate],
}

/// A candidate that holds a slot.
struct Slot {
    candidate: Candidate,
    /// Its row among those just written; none for a text that had ended before.
    row: Option<usize>,
    /// Tokens drawn for it.
    length: usize,
}

impl Slot {
    fn ended(&self) -> bool {
        self.candidate.continuation.end.is_some()
    }
}

pub(super) struct Beam<'a> {
    pub(super) settings: &'a Settings,
    pub(super) vocab: Option<&'a Vocab>,
    pub(super) proposals: Box<dyn Proposals + 'a>,
    pub(super) judge: Box<dyn Judge + 'a>,
    pub(super) drawn: usize,
    pub(super) rounds: usize,
}

impl Beam<'_> {
    /// Runs to the end.
    pub(super) fn run(mut self, watch: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>) -> Result<Found> {
        let mut archive = Vec::new();
        let prompt = Candidate { continuation: Continuation::default(), score: 0.0 };
        let mut kept = vec![Slot { candidate: prompt, row: Some(0), length: 0 }];
        loop {
            // At first there is one row for all slots.
            let copies = if self.rounds == 0 { self.settings.rows() } else { self.settings.successors };
            let count = self.next_chunk(&kept, copies);
            if count == 0 {
                break;
            }
            let forked = self.fork(kept, copies)?;
            let candidates = self.write(forked, count)?;
            (kept, archive) = self.keep(candidates, archive);
            let beam: Vec<_> = kept.iter().map(|slot| slot.candidate.clone()).collect();
            let progress = Progress { rounds: self.rounds, drawn: self.drawn, beam: &beam };
            if watch(&progress).is_break() || kept.iter().all(Slot::ended) {
                break;
            }
        }
        let mut candidates: Vec<_> = kept.into_iter().map(|slot| slot.candidate).chain(archive).collect();
        distinct(&mut candidates, |candidate| &candidate.continuation);
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Found { candidates, drawn: self.drawn, rounds: self.rounds })
    }

    /// How many tokens each row gets next; none once a limit is reached.
    fn next_chunk(&self, kept: &[Slot], copies: usize) -> usize {
        let settings = self.settings;
        let open = kept.iter().filter(|slot| !slot.ended());
        let longest = open.clone().map(|slot| slot.length).max().unwrap_or(0);
        let left = settings.decoding.max_tokens.map_or(usize::MAX, |max| max.saturating_sub(longest));
        let rows = open.count().saturating_mul(copies).max(1);
        let affordable =
            settings.budget.map_or(usize::MAX, |budget| budget.saturating_sub(self.drawn) / rows);
        settings.chunk.min(left).min(affordable).min(self.judge.room())
    }

    /// Copies every slot that goes on. Texts that have ended keep their slot, and no model holds them any more.
    fn fork(&mut self, kept: Vec<Slot>, copies: usize) -> Result<Vec<Slot>> {
        let mut rows = Vec::new();
        let mut forked = Vec::new();
        for slot in kept {
            match slot.row.filter(|_| !slot.ended()) {
                None => forked.push(Slot { row: None, ..slot }),
                Some(row) => {
                    for _ in 0..copies {
                        let candidate = slot.candidate.clone();
                        forked.push(Slot { candidate, row: Some(rows.len()), length: slot.length });
                        rows.push(row);
                    }
                }
            }
        }
        self.proposals.select(&rows)?;
        self.judge.select(&rows)?;
        Ok(forked)
    }

    /// Extends every row, and scores it.
    fn write(&mut self, mut kept: Vec<Slot>, count: usize) -> Result<Vec<Slot>> {
        let pieces = self.proposals.extend(count)?;
        self.rounds += 1;
        let mut written: Vec<_> = kept.iter_mut().filter(|slot| slot.row.is_some()).collect();
        check::per_row("rows that a base has written", written.len(), pieces.len())?;
        for (slot, piece) in written.iter_mut().zip(pieces) {
            self.drawn += piece.drawn;
            slot.length += piece.drawn;
            let continuation = &mut slot.candidate.continuation;
            continuation.extend(piece, self.vocab);
            let max = self.settings.decoding.max_tokens;
            if continuation.end.is_none() && max.is_some_and(|max| slot.length >= max) {
                continuation.end = Some(FinishReason::MaxTokens);
            }
        }
        let rows: Vec<_> = written.iter().map(|slot| &slot.candidate.continuation).collect();
        let scores = self.judge.score(&rows)?;
        check::per_row("scores of a guide", written.len(), scores.len())?;
        for (slot, score) in written.into_iter().zip(scores) {
            if score.is_nan() {
                return Err(Error::parameter("score of a guide", score, "a number"));
            }
            slot.candidate.score = score;
        }
        Ok(kept)
    }

    /// The best distinct candidates, as many as there are slots, best first; and the ended ones that were pushed out
    /// of the beam so far.
    fn keep(&self, mut candidates: Vec<Slot>, mut archive: Vec<Candidate>) -> (Vec<Slot>, Vec<Candidate>) {
        distinct(&mut candidates, |slot| &slot.candidate.continuation);
        let mut order: Vec<_> = (0..candidates.len()).collect();
        // A stable sort: of equals the earlier row comes first.
        order.sort_by(|a, b| candidates[*b].candidate.score.total_cmp(&candidates[*a].candidate.score));
        let mut slots: Vec<_> = candidates.into_iter().map(Some).collect();
        let mut best = Vec::new();
        for (rank, index) in order.into_iter().enumerate() {
            let Some(slot) = slots[index].take() else { continue };
            if rank < self.settings.width {
                best.push(slot);
            } else if slot.ended() {
                archive.push(slot.candidate);
            }
        }
        (best, archive)
    }
}

/// Drops all but the first of equals.
fn distinct<T>(items: &mut Vec<T>, key: impl Fn(&T) -> &Continuation) {
    let mut index = 0;
    while index < items.len() {
        let (before, from) = items.split_at(index);
        match before.iter().any(|earlier| key(earlier) == key(&from[0])) {
            true => drop(items.remove(index)),
            false => index += 1,
        }
    }
}
