//! [`Scorings`]: a batch of texts that are being scored, in pieces.
use std::sync::Arc;
use std::time::Instant;

use eft::candle::Candle;
use eft::score::PASS_BYTES;
use eft::{Backend, Error, Evaluator, Result, Scores, TokenId};

use super::job::{EndReason, Scored};
use super::scoring::Scoring;
use super::{Limits, Returned};
use crate::metrics::Metrics;

/// A batch of texts that are being scored by one combination. Texts that begin alike, as the choices of a question do, share
/// a row up to where they part.
pub(super) struct Scorings {
    /// The combination as a formula.
    combination: String,
    evaluator: Evaluator<Candle>,
    /// For each row of the evaluator, the texts that it carries: all of them begin with the tokens that it has.
    rows: Vec<Vec<Scoring>>,
    /// The most positions that a step scores, so that long texts do not stop the texts that are being generated.
    most: usize,
    metrics: Arc<Metrics>,
}

/// What a step has computed for one row: the scores of its next tokens, and those of the token after them, if a text needs it.
struct OfRow {
    scored: Vec<Scored>,
    after: Option<Scores<Candle>>,
}

impl Scorings {
    /// Opens a batch. If that fails, the texts come back with the error.
    pub(super) fn open(
        texts: Vec<Scoring>,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Returned<Vec<Scoring>>> {
        let rows = grouped(texts);
        let Some(first) = rows.first().map(|texts| &texts[0].job) else {
            return Err(Box::new((Vec::new(), Error::EmptyBatch { what: "a batch of texts" })));
        };
        let (source, combination) = (first.source.clone(), first.combination());
        let prompts: Vec<_> = rows.iter().map(|texts| texts[0].job.prompt.clone()).collect();
        let opened = Evaluator::open(&[&source], &prompts).and_then(|evaluator| {
            let bytes_of_position = evaluator.width(0)?.saturating_mul(size_of::<f32>()).max(1);
            Ok((evaluator, limits.prefill.min(PASS_BYTES / bytes_of_position).max(1)))
        });
        match opened {
            Ok((evaluator, most)) => {
                let mut opened = Self { combination, evaluator, rows, most, metrics };
                match opened.refuse() {
                    Ok(()) => Ok(opened),
                    Err(error) => Err(Box::new((opened.unfinished(), error))),
                }
            }
            Err(error) => Err(Box::new((rows.into_iter().flatten().collect(), error))),
        }
    }

    /// Adds texts of the same combination. If that fails, those that were not added come back with the error; if the batch is of
    /// no more use then, all of them do.
    pub(super) fn join(&mut self, texts: Vec<Scoring>) -> Result<(), Returned<Vec<Scoring>>> {
        let mut new = Vec::new();
        for text in texts {
            match self.rows.iter_mut().find(|row| row.iter().any(|other| other.begins_like(&text))) {
                Some(row) => row.push(text),
                None => new.push(text),
            }
        }
        let new = grouped(new);
        let prompts: Vec<_> = new.iter().map(|texts| texts[0].job.prompt.clone()).collect();
        if !new.is_empty() {
            if let Err(error) = self.evaluator.join(&prompts) {
                return Err(Box::new((new.into_iter().flatten().collect(), error)));
            }
            self.rows.extend(new);
        }
        match self.refuse() {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new((self.unfinished(), error))),
        }
    }

    /// Whether texts of this combination can join.
    pub(super) fn is_of(&self, combination: &str) -> bool {
        self.combination == combination
    }

    /// The number of texts that have not been scored.
    pub(super) fn texts(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// Scores the next tokens of each text. After an error, the batch is of no more use, and the texts that are not complete
    /// come back.
    pub(super) fn step(&mut self) -> Result<(), Returned<Vec<Scoring>>> {
        match self.try_step() {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new((self.unfinished(), error))),
        }
    }

    /// Ends the texts that nobody waits for any more, and those whose time is up. After an error, the batch is of no more use,
    /// and the texts that are not complete come back.
    pub(super) fn sweep(&mut self, now: Instant, stop: bool) -> Result<(), Returned<Vec<Scoring>>> {
        let kept = self.retain(|_, text| {
            let ended = stop || now >= text.job.deadline;
            if ended {
                text.end(if stop { EndReason::Shutdown } else { EndReason::Deadline });
            }
            !ended && !text.job.is_cancelled()
        });
        kept.map_err(|error| Box::new((self.unfinished(), error)))
    }

    fn unfinished(&mut self) -> Vec<Scoring> {
        std::mem::take(&mut self.rows).into_iter().flatten().map(Scoring::anew).collect()
    }

    /// Keeps the texts for which `going_on` holds, and the rows that carry any. Without any, the evaluator is of no more use.
    fn retain(&mut self, mut going_on: impl FnMut(usize, &Scoring) -> bool) -> Result<()> {
        for (row, texts) in self.rows.iter_mut().enumerate() {
            texts.retain(|text| going_on(row, text));
        }
        let carrying: Vec<_> = (0..self.rows.len()).filter(|row| !self.rows[*row].is_empty()).collect();
        let all = carrying.len() == self.rows.len();
        self.rows.retain(|texts| !texts.is_empty());
        if all || carrying.is_empty() { Ok(()) } else { self.evaluator.select(&carrying) }
    }

    fn try_step(&mut self) -> Result<()> {
        self.part()?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let counts = shares(&self.rows.iter().map(|texts| in_common(texts)).collect::<Vec<_>>(), self.most);
        let computed = self.compute(&counts)?;
        self.evaluator.commit();
        for (texts, OfRow { scored, after }) in self.rows.iter_mut().zip(computed) {
            self.metrics.scored_positions.inc_by(scored.len() as u64);
            for text in texts.iter_mut() {
                self.metrics.scored_tokens.inc_by(scored.len() as u64);
                text.take(&scored);
                if text.rest().is_empty() {
                    let after = after.as_ref().map(|scores| scores.shallow_clone(self.evaluator.backend()));
                    if let Err(error) = text.finish(after, &self.metrics) {
                        text.fail(&Arc::new(error));
                    }
                }
            }
        }
        self.retain(|_, text| !text.rest().is_empty())
    }

    /// Ends new texts that cannot be scored to their ends: those with a token that a model of the combination does not have, or
    /// with more tokens than it has room for.
    fn refuse(&mut self) -> Result<()> {
        let (limit, room) = (self.evaluator.width(0)?, self.evaluator.room());
        self.retain(|row, text| {
            let error = match text.is_new().then(|| text.check(limit, room[row])) {
                None | Some(Ok(())) => return true,
                Some(Err(error)) => error,
            };
            text.fail(&Arc::new(error));
            false
        })
    }

    /// Gives texts of one row that go on differently rows of their own.
    fn part(&mut self) -> Result<()> {
        let mut rows: Vec<(Option<TokenId>, Vec<Scoring>)> = Vec::new();
        let mut origins = Vec::new();
        for (origin, texts) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            let first = rows.len();
            for text in texts {
                let next = text.rest().first().copied();
                match rows[first..].iter_mut().find(|(token, _)| *token == next) {
                    Some((_, texts)) => texts.push(text),
                    None => {
                        rows.push((next, vec![text]));
                        origins.push(origin);
                    }
                }
            }
        }
        self.rows = rows.into_iter().map(|(_, texts)| texts).collect();
        let parted = origins.windows(2).any(|pair| pair[0] == pair[1]);
        if parted { self.evaluator.select(&origins) } else { Ok(()) }
    }

    /// Scores the next `counts[row]` tokens of each row.
    fn compute(&mut self, counts: &[usize]) -> Result<Vec<OfRow>> {
        let next: Vec<Vec<TokenId>> =
            self.rows.iter().zip(counts).map(|(texts, count)| texts[0].rest()[..*count].to_vec()).collect();
        let generates =
            |(texts, count): (&Vec<Scoring>, &usize)| texts.iter().any(|t| t.generates_after(*count));
        let generates: Vec<_> = self.rows.iter().zip(counts).map(generates).collect();
        let starts: Vec<_> = (0..self.rows.len()).map(|row| self.evaluator.pushed(row).len()).collect();
        self.evaluator.push(&next)?;
        let of_row = |row: usize| starts[row]..starts[row] + counts[row] + usize::from(generates[row]);
        let at: Vec<_> = (0..starts.len()).map(of_row).collect();
        let scores = self.evaluator.eval(0, &at)?;

        let given: Vec<_> =
            (0..at.len()).flat_map(|row| scores.positions(row).into_iter().take(counts[row])).collect();
        let lists: Vec<_> = next.iter().flatten().map(|token| vec![*token]).collect();
        let backend = self.evaluator.backend();
        let (width, most) =
            (scores.width(), |texts: &Vec<Scoring>| texts.iter().map(Scoring::alternatives).max());
        let log_probs =
            if given.is_empty() { Vec::new() } else { backend.log_probs(&given, &lists, width)? };
        let mut found = log_probs.into_iter().flatten();
        let mut computed = Vec::new();
        for (row, tokens) in next.iter().enumerate() {
            let of_row: Vec<_> = scores.positions(row).into_iter().take(tokens.len()).collect();
            let top = match most(&self.rows[row]) {
                Some(count) if count > 0 && !of_row.is_empty() => backend.top(&of_row, count, width)?,
                _ => vec![Vec::new(); tokens.len()],
            };
            let mut scored = Vec::new();
            for (index, (id, top)) in tokens.iter().zip(top).enumerate() {
                let log_prob = found.next().unwrap_or(f32::NAN);
                if log_prob.is_nan() {
                    return Err(self.evaluator.diagnose(0, row, starts[row] + index));
                }
                let alternatives = top.into_iter().map(|pick| (pick.token, pick.log_prob)).collect();
                scored.push(Scored { id: *id, log_prob, alternatives });
            }
            let after = generates[row].then(|| scores.shallow_clone(backend).select(&[row]));
            computed.push(OfRow { scored, after });
        }
        Ok(computed)
    }
}

/// Puts texts that begin alike together.
fn grouped(texts: Vec<Scoring>) -> Vec<Vec<Scoring>> {
    let mut rows: Vec<Vec<Scoring>> = Vec::new();
    for text in texts {
        match rows.iter_mut().find(|row| row[0].begins_like(&text)) {
            Some(row) => row.push(text),
            None => rows.push(vec![text]),
        }
    }
    rows
}

/// How many of their next tokens texts have in common.
fn in_common(texts: &[Scoring]) -> usize {
    let Some((first, others)) = texts.split_first() else { return 0 };
    let with = |other: &Scoring| first.rest().iter().zip(other.rest()).take_while(|(a, b)| a == b).count();
    others.iter().map(with).min().unwrap_or(first.rest().len())
}

/// How many positions each row may score if `needs[row]` are left, and all rows together are to score `most`. Each row that
/// needs any gets one at least, and what a row does not need is shared among the others.
fn shares(needs: &[usize], most: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..needs.len()).collect();
    order.sort_by_key(|row| needs[*row]);
    let (mut left, mut shares) = (most, vec![0; needs.len()]);
    for (rank, row) in order.into_iter().enumerate() {
        shares[row] = needs[row].min((left / (needs.len() - rank)).max(1));
        left = left.saturating_sub(shares[row]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn positions_are_shared_fairly() {
        assert_eq!(shares(&[100, 3, 100], 23), [10, 3, 10]);
        assert_eq!(shares(&[5, 0, 7], 100), [5, 0, 7]);
        assert_eq!(shares(&[9, 9, 9], 1), [1, 1, 1]);
        assert!(shares(&[], 5).is_empty());
    }
}
