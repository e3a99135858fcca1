use std::sync::Arc;

use super::Piece;
use crate::backend::Backend;
use crate::decode::FinishReason;
use crate::decode::stop::StopRules;
use crate::evaluator::{Evaluator, OpenOptions};
use crate::{Decoding, Error, Prompt, Result, Sampler, Source, TokenId, Vocab};

/// The base of a search: whatever writes continuations. Every [`Source`] is one, and so is a [`BlackBox`](super::BlackBox)
/// that only samples text.
pub trait Proposer: Send + Sync {
    /// What its tokens stand for; `None` if it tells text only.
    fn vocab(&self) -> Option<&Arc<Vocab>>;

    /// One row at the end of the prompt. Of `decoding`, limits are the search's business.
    ///
    /// # Errors
    /// As [`Source::generate`].
    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn Proposals + '_>>;
}

/// Rows that are being written.
pub trait Proposals: Send {
    /// Goes on with every row by up to `count` tokens, fewer where a text ends.
    ///
    /// # Errors
    /// Failures of the model.
    fn extend(&mut self, count: usize) -> Result<Vec<Piece>>;

    /// Makes row `i` what row `rows[i]` was after the last call of [`extend`](Self::extend); none of them is one
    /// whose text has ended.
    ///
    /// # Errors
    /// [`Error::RowOutOfRange`], [`Error::EmptyBatch`], and failures of the model.
    fn select(&mut self, rows: &[usize]) -> Result<()>;

    /// Rows that are held: those whose text has ended are not.
    fn held(&self) -> usize;
}

impl<B: Backend> Proposer for Source<B> {
    fn vocab(&self) -> Option<&Arc<Vocab>> {
        Some(self.vocab())
    }

    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn Proposals + '_>> {
        decoding.validate()?;
        if decoding.alternatives > 0 || decoding.rivals.is_some() {
            let what = "alternatives and attributions in a search";
            return Err(Error::Unsupported { who: self.name(), what: what.into() });
        }
        let options = OpenOptions { parallel: decoding.parallel, ..OpenOptions::default() };
        let evaluator = Evaluator::open_with(&[self], std::slice::from_ref(prompt), options)?;
        let stops = StopRules::new(&evaluator, decoding)?;
        let sampler = Sampler::new(evaluator.backend().clone(), decoding, 1)?
            .with_prompts(|term, row| evaluator.prompt_tokens(term, row))?;
        Ok(Box::new(Sampled { evaluator, sampler, stops, places: vec![Some(0)] }))
    }
}

/// Rows sampled from a source.
struct Sampled<B: Backend> {
    evaluator: Evaluator<B>,
    sampler: Sampler<B>,
    stops: StopRules,
    /// For each row, where it is in the evaluator; nowhere once its text has ended.
    places: Vec<Option<usize>>,
}

impl<B: Backend> Sampled<B> {
    /// How a text ended with its last token, and how many tokens only ended it.
    fn end(&self, text: &[TokenId], room: usize) -> Option<(FinishReason, usize)> {
        self.stops.end(text).or((room == 0).then_some((FinishReason::ContextFull, 0)))
    }

    /// One token for each row of the evaluator; `rows` are those whose text goes on.
    fn step(&mut self, rows: &mut Vec<usize>, pieces: &mut [Piece]) -> Result<()> {
        let scores = self.evaluator.eval_last(0)?;
        let tokens = self.sampler.sample(&scores).map_err(|error| self.evaluator.explain(0, error))?;
        drop(scores);
        self.evaluator.commit();
        let room = self.evaluator.room();
        let mut going_on = Vec::new();
        for (place, (row, token)) in rows.iter().zip(&tokens).enumerate() {
            let piece = &mut pieces[*row];
            piece.tokens.push(token.id);
            piece.drawn += 1;
            match self.end(self.sampler.generated(place), room[place]) {
                Some((end, tail)) => (piece.end, piece.tail) = (Some(end), tail),
                None => going_on.push(place),
            }
        }
        *rows = going_on.iter().map(|place| rows[*place]).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if going_on.len() < tokens.len() {
            self.evaluator.select(&going_on)?;
            self.sampler.select(&going_on)?;
        }
        self.evaluator.push(&going_on.iter().map(|place| vec![tokens[*place].id]).collect::<Vec<_>>())
    }
}

impl<B: Backend> Proposals for Sampled<B> {
    fn extend(&mut self, count: usize) -> Result<Vec<Piece>> {
        let mut pieces = vec![Piece::default(); self.places.len()];
        let mut rows: Vec<_> = (0..self.places.len()).filter(|row| self.places[*row].is_some()).collect();
        for _ in 0..count {
            if rows.is_empty() {
                break;
            }
            self.step(&mut rows, &mut pieces)?;
        }
        self.places = vec![None; pieces.len()];
        rows.iter().enumerate().for_each(|(place, row)| self.places[*row] = Some(place));
        Ok(pieces)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let place = |row: &usize| {
            let place = self.places.get(*row).copied().flatten();
            place.ok_or(Error::RowOutOfRange { what: "select", row: *row, rows: self.places.len() })
        };
        let places = rows.iter().map(place).collect::<Result<Vec<_>>>()?;
        self.evaluator.select(&places)?;
        self.sampler.select(&places)?;
        // A row draws by its place among those that go on, as a row of a batch does.
        self.sampler.rename(&(0..rows.len() as u64).collect::<Vec<_>>())?;
        self.places = (0..rows.len()).map(Some).collect();
        Ok(())
    }

    fn held(&self) -> usize {
        self.places.iter().flatten().count()
    }
}
