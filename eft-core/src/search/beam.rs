//! The loop of the search.
use std::ops::ControlFlow;

use super::settings::Settings;
use super::{Candidate, Continuation, GuideSession, ProposerSession, SearchResult};
use crate::check;
use crate::decode::FinishReason;
use crate::{Error, Result, Vocab};

/// The state of a search after a round: see [`run_watched`](super::ChunkBeamSearch::run_watched).
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The number of rounds so far.
    pub rounds: usize,
    /// The number of tokens sampled so far, over all rows.
    pub drawn: usize,
    /// The texts in the beam, best first: some can be extended, others have ended.
    pub beam: &'a [Candidate],
}

/// A candidate with a place in the beam.
struct Slot {
    candidate: Candidate,
    /// Its row among those that were just extended; `None` if the text had ended before.
    row: Option<usize>,
    /// The number of tokens sampled for it.
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
    pub(super) base: Box<dyn ProposerSession + 'a>,
    pub(super) guide: Box<dyn GuideSession + 'a>,
    pub(super) drawn: usize,
    pub(super) rounds: usize,
}

impl Beam<'_> {
    /// Runs the search to its end.
    pub(super) fn run(
        mut self,
        watch: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<SearchResult> {
        let mut archive = Vec::new();
        let prompt = Candidate { continuation: Continuation::default(), score: 0.0 };
        let mut kept = vec![Slot { candidate: prompt, row: Some(0), length: 0 }];
        loop {
            // In the first round, one row makes the successors of all slots.
            let copies = if self.rounds == 0 { self.settings.rows() } else { self.settings.successors };
            let count = self.next_chunk(&kept, copies);
            if count == 0 {
                break;
            }
            let forked = self.fork(kept, copies)?;
            let candidates = self.extend(forked, count)?;
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
        Ok(SearchResult { candidates, drawn: self.drawn, rounds: self.rounds })
    }

    /// Returns how many tokens each row is extended by in the next round; 0 if a limit is reached.
    fn next_chunk(&self, kept: &[Slot], copies: usize) -> usize {
        let settings = self.settings;
        let open = kept.iter().filter(|slot| !slot.ended());
        let longest = open.clone().map(|slot| slot.length).max().unwrap_or(0);
        let left = settings.decoding.max_tokens.map_or(usize::MAX, |max| max.saturating_sub(longest));
        let rows = open.count().saturating_mul(copies).max(1);
        let affordable =
            settings.budget.map_or(usize::MAX, |budget| budget.saturating_sub(self.drawn) / rows);
        settings.chunk.min(left).min(affordable).min(self.guide.room())
    }

    /// Copies every text that can be extended. Texts that have ended keep their slot but leave the models.
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
        self.base.select(&rows)?;
        self.guide.select(&rows)?;
        Ok(forked)
    }

    /// Extends every row by up to `count` tokens and scores it.
    fn extend(&mut self, mut slots: Vec<Slot>, count: usize) -> Result<Vec<Slot>> {
        let chunks = self.base.extend(count)?;
        self.rounds += 1;
        let mut extended: Vec<_> = slots.iter_mut().filter(|slot| slot.row.is_some()).collect();
        check::per_row("rows that a base has extended", extended.len(), chunks.len())?;
        let before: Vec<_> = extended.iter().map(|slot| slot.candidate.clone()).collect();
        for (slot, chunk) in extended.iter_mut().zip(chunks) {
            self.drawn += chunk.drawn;
            slot.length += chunk.drawn;
            let continuation = &mut slot.candidate.continuation;
            continuation.extend(chunk, self.vocab);
            let max = self.settings.decoding.max_tokens;
            if continuation.end.is_none() && max.is_some_and(|max| slot.length >= max) {
                continuation.end = Some(FinishReason::MaxTokens);
            }
        }
        let rows: Vec<_> = extended.iter().map(|slot| &slot.candidate.continuation).collect();
        let scores = self.guide.score(&rows)?;
        check::per_row("scores of a guide", extended.len(), scores.len())?;
        for ((slot, score), before) in extended.into_iter().zip(scores).zip(before) {
            match score {
                Some(score) if score.is_nan() => {
                    return Err(Error::parameter("score of a guide", score, "a number"));
                }
                Some(score) => slot.candidate.score = score,
                // The text is too long for the guide, so it ends where it was last scored.
                None => {
                    slot.candidate = before;
                    slot.candidate.continuation.end = Some(FinishReason::ContextFull);
                }
            }
        }
        Ok(slots)
    }

    /// Returns the best distinct candidates, one for each slot, best first; and adds the others that have ended to the
    /// archive.
    fn keep(&self, mut candidates: Vec<Slot>, mut archive: Vec<Candidate>) -> (Vec<Slot>, Vec<Candidate>) {
        distinct(&mut candidates, |slot| &slot.candidate.continuation);
        let mut order: Vec<_> = (0..candidates.len()).collect();
        // The sort is stable: of candidates with equal scores, the one of the earlier row comes first.
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

/// Removes all but the first of equal continuations.
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
