//! [`Scoring`]: a text whose tokens are given, as far as it has been scored.
use std::sync::Arc;

use eft::candle::Candle;
use eft::decode::{Event, FinishReason, Finished};
use eft::{Decoding, Error, Result, Sampler, Scores, TokenId};

use super::job::{End, EndReason, Failure, Generate, Job, Score, Scored, Update};
use super::texts::ALTERNATIVES;
use super::writer::Writer;
use crate::metrics::Metrics;

/// A text that is being scored.
pub(super) struct Scoring {
    pub(super) job: Job,
    score: Score,
    /// How many of its tokens have been scored.
    done: usize,
    /// How many scores have been sent. It is more than have been computed if the text was begun anew.
    sent: usize,
}

impl Scoring {
    pub(super) fn new(job: Job, score: Score) -> Self {
        Self { job, score, done: 0, sent: 0 }
    }

    /// The text from its beginning; what has been sent will not be sent again.
    pub(super) fn anew(self) -> Self {
        Self { done: 0, ..self }
    }

    /// Whether both texts are scored by one combination from one prompt on, and none of their tokens has been scored.
    pub(super) fn begins_like(&self, other: &Self) -> bool {
        self.done == 0 && other.done == 0 && self.job.prompt == other.job.prompt
    }

    /// Whether none of its tokens has been scored.
    pub(super) fn is_new(&self) -> bool {
        self.done == 0
    }

    /// Checks that a text can be scored to its end by its combination, which has `limit` tokens, and whose contexts have room
    /// for `room` tokens after the prompt.
    pub(super) fn check(&self, limit: usize, room: usize) -> Result<()> {
        let (term, row) = (self.job.source.name(), 0);
        if let Some(&token) = self.rest().iter().find(|token| **token as usize >= limit) {
            return Err(Error::TokenOutOfRange { term, row, token, limit });
        }
        // Nothing follows the last token, unless one is to be generated.
        let asked = (self.rest().len() + usize::from(self.score.next.is_some())).saturating_sub(1);
        match asked > room {
            true => Err(Error::ContextFull { term, row, asked, room }),
            false => Ok(()),
        }
    }

    /// The tokens that have not been scored.
    pub(super) fn rest(&self) -> &[TokenId] {
        &self.score.tokens[self.done..]
    }

    pub(super) fn alternatives(&self) -> usize {
        self.score.alternatives
    }

    /// Whether a token is to be generated after `count` more tokens have been scored.
    pub(super) fn generates_after(&self, count: usize) -> bool {
        self.score.next.is_some() && self.rest().len() == count
    }

    /// Takes the scores of the next tokens. Alternatives beyond those that are asked for are left out.
    pub(super) fn take(&mut self, scored: &[Scored]) {
        let new = self.sent.saturating_sub(self.done).min(scored.len());
        self.done += scored.len();
        if new < scored.len() {
            self.sent = self.done;
            let mut scored = scored[new..].to_vec();
            scored.iter_mut().for_each(|token| token.alternatives.truncate(self.score.alternatives));
            self.send(Update::Scored(scored));
        }
    }

    /// Generates the token after those that were scored, if one is asked for, from the scores of one row. The text is
    /// complete then.
    pub(super) fn finish(&self, after: Option<Scores<Candle>>, metrics: &Metrics) -> Result<()> {
        if let (Some(scores), Some((answer, generate))) = (after, &self.score.next) {
            for update in self.generate(&scores, generate, metrics)? {
                if matches!(update, Update::Piece(_)) {
                    metrics.first_token(self.job.submitted.elapsed());
                }
                // A receiver that is gone needs no update.
                let _ = self.job.updates.send((*answer, update));
            }
        }
        self.end(EndReason::Scored);
        Ok(())
    }

    /// The same as a batch of texts does for a text of one token.
    fn generate(
        &self,
        scores: &Scores<Candle>,
        generate: &Generate,
        metrics: &Metrics,
    ) -> Result<Vec<Update>> {
        let source = &self.job.source;
        let (width, stop_ids) = (scores.width(), source.stop_ids());
        if let Some(&id) = stop_ids.iter().find(|id| **id as usize >= width) {
            return Err(Error::StopIdCut { vocab: source.vocab().name().into(), id, common: width });
        }
        let alternatives = if generate.alternatives { ALTERNATIVES } else { 0 };
        let mut decoding = Decoding::from(generate.sampling).alternatives(alternatives);
        decoding.processors.clone_from(&generate.processors);
        let token = Sampler::new(source.backend().clone(), &decoding, 1)?.sample(scores)?.swap_remove(0);
        let finished = |reason, tail| Event::Finished { row: 0, finished: Finished { reason, tail } };
        let events = match stop_ids.contains(&token.id) {
            true => vec![finished(FinishReason::EndOfSequence(token.id), vec![token])],
            false => vec![Event::Token { row: 0, token }, finished(FinishReason::MaxTokens, Vec::new())],
        };
        let mut writer = Writer::new(source.vocab().clone(), &generate.stops)?;
        let updates = events.into_iter().map(|event| writer.take(event, metrics, self.job.submitted));
        Ok(updates.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Ends the text with what there is.
    pub(super) fn end(&self, reason: EndReason) {
        self.send(Update::Finished(End { reason, tail: Vec::new() }));
    }

    pub(super) fn fail(&self, error: &Arc<Error>) {
        self.send(Update::Failed(Failure::Models(error.clone())));
    }

    fn send(&self, update: Update) {
        // A receiver that is gone needs no update.
        let _ = self.job.updates.send((self.job.first, update));
    }
}
