use std::collections::VecDeque;
use std::sync::Arc;

use super::stop::StopWatch;
use super::{Attribution, Decoding, FinishReason, Finished};
use crate::backend::Backend;
use crate::evaluator::Evaluator;
use crate::sample::{Sampler, Token};
use crate::speculate::{Bounds, Report, Speculation};
use crate::{Error, Result, TokenId, Vocab};

/// Texts for a batch of prompts: an iterator over what happens, row by row within each step.
///
/// Rows that have ended leave the batch, so that the models run only those that go on. A row's text is the same
/// whatever rows are beside it, but for the last bits of the models' own arithmetic. An error ends all rows.
pub struct Batch<B: Backend> {
    evaluator: Evaluator<B>,
    sampler: Sampler<B>,
    decoding: Decoding,
    vocab: Arc<Vocab>,
    stop_ids: Vec<TokenId>,
    /// The prompt that each row of the evaluator goes on from.
    active: Vec<usize>,
    /// For each prompt, how many tokens there were behind it at first: they count for processors and uniforms, not
    /// for the limit.
    before: Vec<usize>,
    watches: Vec<StopWatch>,
    events: VecDeque<Event>,
    ended: bool,
    /// How tokens are drafted by the evaluator's second root, if they are.
    speculation: Option<Speculation>,
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was generated.
    Token {
        /// Index of the prompt.
        row: usize,
        /// The token.
        token: Token,
    },
    /// The text has ended. The last event of its row.
    Finished {
        /// Index of the prompt.
        row: usize,
        /// How.
        finished: Finished,
    },
}

impl<B: Backend> Batch<B> {
    /// Generates from an evaluator by its first root, behind the tokens that were pushed to it: uniforms and processors go
    /// on as if the text had never been cut. This is how a conversation goes on, too:
    /// [`into_evaluator`](Self::into_evaluator), [`Evaluator::reopen`], and here again, with another seed.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings outside their range, [`Error::StopIdCut`] and
    /// [`Error::StopIdOutOfRange`] for a stop id that is no token of all terms, [`Error::Unknown`] for a prompt that a processor asks for of a term there is not.
    pub fn over(evaluator: Evaluator<B>, decoding: Decoding) -> Result<Self> {
        Self::with(evaluator, decoding, None)
    }

    /// As [`over`](Self::over), with tokens drafted by the evaluator's second root.
    pub(crate) fn with(
        evaluator: Evaluator<B>,
        decoding: Decoding,
        speculation: Option<Speculation>,
    ) -> Result<Self> {
        let stop_ids = stop_ids(&evaluator, &decoding)?;
        let Some(vocab) = evaluator.vocabs(0)?.first().cloned() else {
            return Err(Error::NothingLeft { combination: evaluator.name(0)?.into() });
        };
        let sampler = Sampler::new(evaluator.backend().clone(), &decoding, evaluator.rows())?
            .with_prompts(|term, row| evaluator.prompt_tokens(term, row))?;
        let rows = evaluator.rows();
        let before: Vec<_> = (0..rows).map(|row| evaluator.pushed(row).len()).collect();
        let sampler = sampler.with_generated((0..rows).map(|row| evaluator.pushed(row)))?;
        let mut batch = Self {
            evaluator,
            sampler,
            decoding,
            vocab,
            stop_ids,
            active: (0..rows).collect(),
            before,
            watches: (0..rows).map(|_| StopWatch::default()).collect(),
            events: VecDeque::new(),
            ended: false,
            speculation,
        };
        if batch.decoding.max_tokens == Some(0) {
            for row in std::mem::take(&mut batch.active) {
                batch.finish(row, FinishReason::MaxTokens);
            }
        }
        Ok(batch)
    }

    /// The open models, to go on with: by [`over`](Self::over) where the text was left, or by [`Evaluator::reopen`] on
    /// another prompt. They hold every token but an end-of-sequence token, and one that no context had room for.
    /// Rows that ended before the last did are gone.
    pub fn into_evaluator(self) -> Evaluator<B> {
        self.evaluator
    }

    /// What the tokens stand for: the vocabulary of the first model, which the others share.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// Ends a row whose text is wanted no further, without an event. What was not yielded of it is dropped.
    ///
    /// # Errors
    /// As [`Evaluator::select`]: then the batch has ended.
    pub fn retire(&mut self, row: usize) -> Result<()> {
        self.events.retain(|event| match event {
            Event::Token { row: r, .. } | Event::Finished { row: r, .. } => *r != row,
        });
        let others: Vec<_> = (0..self.active.len()).filter(|index| self.active[*index] != row).collect();
        if others.len() == self.active.len() {
            return Ok(());
        }
        self.active = others.iter().map(|index| self.active[*index]).collect();
        if others.is_empty() {
            return Ok(());
        }
        let selected = self.evaluator.select(&others).and_then(|()| self.sampler.select(&others));
        self.ended = selected.is_err();
        selected
    }

    /// What drafting was worth so far; `None` for plain decoding.
    pub fn report(&self) -> Option<&Report> {
        self.speculation.as_ref().map(Speculation::report)
    }

    /// One token for each row that goes on, or several, where they are drafted.
    fn step(&mut self) -> Result<()> {
        let starts: Vec<_> = (0..self.evaluator.rows()).map(|row| self.evaluator.pushed(row).len()).collect();
        let chosen = match self.speculation {
            Some(_) => self.drafted(&starts),
            None => self.plain(),
        };
        let mut chosen = chosen.map_err(|error| {
            let error = self.explain(error);
            self.forget_drafts(&starts);
            error
        })?;
        if let Some(rivals) = self.decoding.rivals {
            self.attribute(&mut chosen, rivals, &starts)?;
        }
        self.evaluator.commit();
        self.take(chosen)
    }

    /// One token for each row.
    fn plain(&mut self) -> Result<Vec<Vec<Token>>> {
        let scores = self.evaluator.eval_last(0)?;
        Ok(self.sampler.sample(&scores)?.into_iter().map(|token| vec![token]).collect())
    }

    /// Several tokens for each row, as many as the target accepts.
    fn drafted(&mut self, starts: &[usize]) -> Result<Vec<Vec<Token>>> {
        let Some(speculation) = &mut self.speculation else { return Ok(Vec::new()) };
        let max = self.decoding.max_tokens.unwrap_or(usize::MAX);
        let generated = starts.iter().zip(&self.active).map(|(start, row)| start - self.before[*row]);
        let bounds = Bounds {
            left: generated.map(|generated| max.saturating_sub(generated)).collect(),
            stop_ids: &self.stop_ids,
            stop_sequences: &self.decoding.stop_sequences,
        };
        speculation.block(&mut self.evaluator, &mut self.sampler, &bounds)
    }

    /// After a failure, the evaluator holds the texts and nothing that was drafted.
    fn forget_drafts(&mut self, starts: &[usize]) {
        let drafted: Vec<_> =
            starts.iter().enumerate().map(|(row, start)| self.evaluator.pushed(row).len() - start).collect();
        // An evaluator that fails at this is poisoned, and says so when it is used.
        let _ = self.evaluator.rollback(&drafted);
    }

    /// Takes in what was chosen for each row: all of its tokens but the last have been pushed.
    fn take(&mut self, chosen: Vec<Vec<Token>>) -> Result<()> {
        let room = self.evaluator.room_for(0)?;
        let mut pushes = vec![Vec::new(); chosen.len()];
        let mut discarded = vec![0; chosen.len()];
        let mut going_on = Vec::new();
        for (index, tokens) in chosen.into_iter().enumerate() {
            let row = self.active[index];
            let mut behind = tokens.len();
            for token in tokens {
                behind -= 1;
                let (id, count) = (token.id, token.position + 1 - self.before[row]);
                let (yielded, finished) =
                    self.watches[row].push(token, &self.stop_ids, &self.decoding.stop_sequences);
                self.events.extend(yielded.into_iter().map(|token| Event::Token { row, token }));
                if let Some(finished) = finished {
                    self.events.push_back(Event::Finished { row, finished });
                    discarded[index] = behind;
                    break;
                }
                if behind > 0 {
                    continue;
                }
                if self.decoding.max_tokens.is_some_and(|max| count >= max) {
                    // Recorded, not fed: whoever goes on from here finds the whole text.
                    if room[index] > 0 {
                        pushes[index].push(id);
                    }
                    self.finish(row, FinishReason::MaxTokens);
                } else if room[index] == 0 {
                    self.finish(row, FinishReason::ContextFull);
                } else {
                    pushes[index].push(id);
                    going_on.push(index);
                }
            }
        }
        if discarded.iter().any(|count| *count > 0) {
            self.evaluator.rollback(&discarded)?;
        }
        self.evaluator.push(&pushes)?;
        if !going_on.is_empty() && going_on.len() < self.active.len() {
            self.evaluator.select(&going_on)?;
            self.sampler.select(&going_on)?;
        }
        self.active = going_on.iter().map(|index| self.active[*index]).collect();
        Ok(())
    }

    /// Ends a row whose last tokens are text like any other.
    fn finish(&mut self, row: usize, reason: FinishReason) {
        let held = self.watches[row].release();
        self.events.extend(held.into_iter().map(|token| Event::Token { row, token }));
        self.events.push_back(Event::Finished { row, finished: Finished { reason, tail: Vec::new() } });
    }

    /// Tells what each term did for the tokens of each row, of which the first follows `starts`.
    fn attribute(&mut self, chosen: &mut [Vec<Token>], rivals: usize, starts: &[usize]) -> Result<()> {
        let at: Vec<_> =
            chosen.iter().zip(starts).map(|(tokens, start)| *start..start + tokens.len()).collect();
        let scores = self.evaluator.eval(0, &at)?;
        let rows: Vec<_> = (0..scores.rows()).flat_map(|row| scores.positions(row)).collect();
        // One more than asked for: the token itself may be among them.
        let top = self.evaluator.backend().top(&rows, rivals + 1, scores.width())?;
        let mut tokens: Vec<_> = chosen.iter_mut().flatten().collect();
        let rivals: Vec<Vec<_>> = tokens
            .iter()
            .zip(top)
            .map(|(token, top)| {
                top.iter().map(|pick| pick.token).filter(|id| *id != token.id).take(rivals).collect()
            })
            .collect();
        let lists: Vec<_> =
            tokens.iter().zip(&rivals).map(|(token, rivals)| [&[token.id], &rivals[..]].concat()).collect();
        let terms = self.evaluator.term_log_probs(0, &at, &lists)?;
        for (index, (token, rivals)) in tokens.iter_mut().zip(&rivals).enumerate() {
            token.attribution = Some(Attribution::new(rivals, &terms, index));
        }
        Ok(())
    }

    /// Names the term at fault, and the prompt's row instead of the evaluator's.
    fn explain(&self, error: Error) -> Error {
        match self.evaluator.explain(0, error) {
            Error::BadScores { term, row, position, fault } => {
                Error::BadScores { term, row: self.active[row], position, fault }
            }
            other => other,
        }
    }
}

/// The ids that end a text: those given, or any term's.
pub(crate) fn stop_ids<B: Backend>(evaluator: &Evaluator<B>, decoding: &Decoding) -> Result<Vec<TokenId>> {
    let width = evaluator.width(0)?;
    let given = decoding.stop_ids.iter().chain(&decoding.stop_sequences).flatten();
    if let Some(&id) = given.clone().find(|id| **id as usize >= width) {
        return Err(Error::StopIdOutOfRange { id, common: width });
    }
    if let Some(ids) = &decoding.stop_ids {
        return Ok(ids.clone());
    }
    let mut union = Vec::new();
    for vocab in evaluator.vocabs(0)? {
        if let Some(&id) = vocab.eos().iter().find(|id| **id as usize >= width) {
            return Err(Error::StopIdCut { vocab: vocab.name().into(), id, common: width });
        }
        union.extend(vocab.eos());
    }
    Ok(union)
}

impl<B: Backend> Iterator for Batch<B> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() && !self.active.is_empty() && !self.ended {
            if let Err(error) = self.step() {
                self.ended = true;
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl<B: Backend> std::fmt::Debug for Batch<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("evaluator", &self.evaluator)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
