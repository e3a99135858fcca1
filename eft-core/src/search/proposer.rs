use std::sync::Arc;

use super::Chunk;
use crate::backend::Backend;
use crate::decode::FinishReason;
use crate::decode::stop::StopRules;
use crate::evaluator::{Evaluator, OpenOptions};
use crate::{Decoding, Error, Prompt, Result, Sampler, Source, TokenId, Vocab};

/// The base of a search: it generates continuations. Every [`Source`] is a proposer, and so is a
/// [`BlackBox`](super::BlackBox) that only samples text.
///
/// ```
/// use eft_core::search::Proposer;
/// use eft_core::{from_fn, Decoding, Host, Vocab};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// let base: &dyn Proposer = &model;
/// let mut session = base.open(&[0].into(), &Decoding::default())?;
/// session.select(&[0, 0])?; // two rows with the same prompt
/// let chunks = session.extend(3)?;
/// assert!(chunks.iter().all(|chunk| chunk.tokens.len() == 3));
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait Proposer: Send + Sync {
    /// Returns the vocabulary of its tokens; `None` if it returns only text.
    fn vocab(&self) -> Option<&Arc<Vocab>>;

    /// Starts a session with one row, whose continuation is empty. The maximum number of tokens in `decoding` is left
    /// to the search.
    ///
    /// # Errors
    /// * [`Error::InvalidParameter`] if a setting is outside its range.
    /// * [`Error::Unsupported`] if `decoding` requests something that the proposer does not support.
    /// * The errors of [`Source::generate`].
    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn ProposerSession + '_>>;
}

/// A batch of continuations of one prompt that are being generated.
///
/// A search ends at the first error, so a session need not be usable after one.
pub trait ProposerSession: Send {
    /// Extends every row by up to `count` tokens, or fewer if its text ends. Returns a chunk for each row; it is empty
    /// for a row whose text had ended.
    ///
    /// # Errors
    /// Any error of the model.
    fn extend(&mut self, count: usize) -> Result<Vec<Chunk>>;

    /// Replaces the rows: row `i` becomes a copy of row `rows[i]`, which must not have ended.
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`] if `rows` is empty.
    /// * [`Error::RowOutOfRange`] if an index is out of range, or the text of a row has ended.
    /// * Any error of the model.
    fn select(&mut self, rows: &[usize]) -> Result<()>;
}

impl<B: Backend> Proposer for Source<B> {
    fn vocab(&self) -> Option<&Arc<Vocab>> {
        Some(self.vocab())
    }

    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> Result<Box<dyn ProposerSession + '_>> {
        decoding.validate()?;
        if decoding.alternatives > 0 || decoding.rivals.is_some() {
            let what = "alternatives and attributions in a search";
            return Err(Error::Unsupported { who: self.name(), what: what.into() });
        }
        let options = OpenOptions { parallel: decoding.parallel, ..OpenOptions::default() };
        let evaluator = Evaluator::open_with(&[self], std::slice::from_ref(prompt), options)?;
        let stops = StopRules::new(&evaluator, 0, decoding)?;
        let sampler = Sampler::new(evaluator.backend().clone(), decoding, 1)?
            .with_prompts(|term, row| evaluator.prompt_tokens(term, row))?;
        Ok(Box::new(SamplingSession { evaluator, sampler, stops, places: vec![Some(0)] }))
    }
}

/// Rows that are sampled from a source.
struct SamplingSession<B: Backend> {
    evaluator: Evaluator<B>,
    sampler: Sampler<B>,
    stops: StopRules,
    /// The row of the evaluator that holds each row of the session; `None` once its text has ended.
    places: Vec<Option<usize>>,
}

impl<B: Backend> SamplingSession<B> {
    /// Returns why a text ended with its last token, and how many tokens at its end only ended it. `None` if it can be
    /// extended.
    fn end(&self, text: &[TokenId], room: usize) -> Option<(FinishReason, usize)> {
        self.stops.end(text).or((room == 0).then_some((FinishReason::ContextFull, 0)))
    }

    /// Samples one token for each row of the evaluator. `rows` are the rows of the session that these hold; those whose
    /// text ends are removed.
    fn step(&mut self, rows: &mut Vec<usize>, chunks: &mut [Chunk]) -> Result<()> {
        let scores = self.evaluator.eval_last(0)?;
        let tokens = self.sampler.sample(&scores).map_err(|error| self.evaluator.explain(0, error))?;
        drop(scores);
        self.evaluator.commit();
        let room = self.evaluator.room();
        let mut open = Vec::new();
        for (place, (row, token)) in rows.iter().zip(&tokens).enumerate() {
            let chunk = &mut chunks[*row];
            chunk.tokens.push(token.id);
            chunk.drawn += 1;
            match self.end(self.sampler.generated(place), room[place]) {
                Some((end, tail)) => (chunk.end, chunk.tail) = (Some(end), tail),
                None => open.push(place),
            }
        }
        *rows = open.iter().map(|place| rows[*place]).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if open.len() < tokens.len() {
            self.evaluator.select(&open)?;
            self.sampler.select(&open)?;
        }
        self.evaluator.push(&open.iter().map(|place| vec![tokens[*place].id]).collect::<Vec<_>>())
    }
}

impl<B: Backend> ProposerSession for SamplingSession<B> {
    fn extend(&mut self, count: usize) -> Result<Vec<Chunk>> {
        let mut chunks = vec![Chunk::default(); self.places.len()];
        let mut rows: Vec<_> = (0..self.places.len()).filter(|row| self.places[*row].is_some()).collect();
        for _ in 0..count {
            if rows.is_empty() {
                break;
            }
            self.step(&mut rows, &mut chunks)?;
        }
        self.places = vec![None; chunks.len()];
        rows.iter().enumerate().for_each(|(place, row)| self.places[*row] = Some(place));
        Ok(chunks)
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let place = |row: &usize| {
            let place = self.places.get(*row).copied().flatten();
            place.ok_or(Error::RowOutOfRange { what: "select", row: *row, rows: self.places.len() })
        };
        let places = rows.iter().map(place).collect::<Result<Vec<_>>>()?;
        self.evaluator.select(&places)?;
        self.sampler.select(&places)?;
        // The seed of a row depends on its place among those that are extended, as it does in a batch.
        self.sampler.rename(&(0..rows.len() as u64).collect::<Vec<_>>())?;
        self.places = (0..rows.len()).map(Some).collect();
        Ok(())
    }
}
