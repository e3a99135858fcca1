use std::sync::Arc;

use super::spot::{Spot, drawn_from};
use super::{History, Processor, Purpose, Sampling, Uniforms};
use crate::backend::{Backend, Pick, ScoreRow};
use crate::check;
use crate::decode::{Attribution, Decoding};
use crate::fault::fault;
use crate::{Error, Fault, Result, Scores, TokenId};

/// Chooses the next token of each row of a batch, and remembers what it chose: the history that processors look at
/// and the positions that uniforms are made of.
pub struct Sampler<B: Backend> {
    backend: B,
    sampling: Sampling,
    processors: Vec<Arc<dyn Processor>>,
    alternatives: usize,
    stop_ids: Vec<TokenId>,
    max_tokens: Option<usize>,
    rows: Vec<RowState>,
}

/// One row of the batch.
#[derive(Debug, Clone)]
struct RowState {
    /// Stable while rows come and go: what its uniforms are made of.
    id: u64,
    generated: Vec<TokenId>,
    /// For each processor, the prompt it asked for.
    prompts: Vec<Vec<TokenId>>,
}

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// How many tokens were generated before it.
    pub position: usize,
    /// Its log-probability (natural log) in the combined distribution.
    pub log_prob: f32,
    /// The same after processors, temperature and filters: in the distribution it was drawn from. For greedy
    /// decoding, after processors.
    pub processed_log_prob: f32,
    /// The likeliest tokens of the combined distribution, as many as were asked for, likeliest first.
    pub alternatives: Vec<Pick>,
    /// What each term of the combination did for it, if that was asked for.
    pub attribution: Option<Attribution>,
    /// The mass that black boxes gave to the tokens they told, where some term is one.
    pub known_mass: Option<f32>,
}

impl<B: Backend> Sampler<B> {
    /// A sampler for a batch of `rows` rows at the end of their prompts. It knows no stop ids but those of
    /// `decoding`: [`Source::sampler`](crate::Source::sampler) adds those of the models.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for settings outside their range.
    pub fn new(backend: B, decoding: &Decoding, rows: usize) -> Result<Self> {
        decoding.validate()?;
        let prompts = vec![Vec::new(); decoding.processors.len()];
        let row = |id| RowState { id, generated: Vec::new(), prompts: prompts.clone() };
        Ok(Self {
            backend,
            sampling: decoding.sampling,
            processors: decoding.processors.clone(),
            alternatives: decoding.alternatives,
            stop_ids: decoding.stop_ids.clone().unwrap_or_default(),
            max_tokens: decoding.max_tokens,
            rows: (0..rows as u64).map(row).collect(),
        })
    }

    /// Tells the prompts that processors ask for by [`Processor::prompt_of`]: `prompt(term, row)`.
    ///
    /// # Errors
    /// Those of `prompt`.
    pub fn with_prompts<'a>(mut self, prompt: impl Fn(&str, usize) -> Result<&'a [TokenId]>) -> Result<Self> {
        for (row, state) in self.rows.iter_mut().enumerate() {
            for (processor, tokens) in self.processors.iter().zip(&mut state.prompts) {
                if let Some(term) = processor.prompt_of() {
                    *tokens = prompt(term, row)?.to_vec();
                }
            }
        }
        Ok(self)
    }

    /// Goes on behind tokens that each row already has, as if they had been chosen here.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a list for each row.
    pub fn with_generated<'a>(mut self, tokens: impl IntoIterator<Item = &'a [TokenId]>) -> Result<Self> {
        let tokens: Vec<_> = tokens.into_iter().collect();
        check::per_row("lists of tokens", self.rows.len(), tokens.len())?;
        self.rows.iter_mut().zip(tokens).for_each(|(row, tokens)| row.generated = tokens.to_vec());
        Ok(self)
    }

    /// The tokens chosen for a row so far; none for a row past the batch.
    pub fn generated(&self, row: usize) -> &[TokenId] {
        self.rows.get(row).map_or(&[], |r| &r.generated)
    }

    /// Chooses a token for each row from its last position, and remembers it.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of rows, [`Error::BadScores`] for a row that is unsound (nothing is
    /// remembered then), and failures of processors and of the backend.
    pub fn sample(&mut self, scores: &Scores<B>) -> Result<Vec<Token>> {
        check::per_row("scores to sample from", self.rows.len(), scores.rows())?;
        let last = scores.last()?.into_iter().enumerate();
        let spots: Vec<_> = last
            .map(|(row, last)| {
                let position = self.rows[row].generated.len();
                Spot { scores: last, row, position, known_mass: scores.known_mass(row) }
            })
            .collect();
        let tokens = self.choose(&spots, scores.width())?;
        self.remember(tokens.iter().enumerate().map(|(row, token)| (row, token.id)));
        Ok(tokens)
    }

    /// Chooses a token for each spot, and remembers none.
    pub(crate) fn choose(&self, spots: &[Spot<'_, B>], width: usize) -> Result<Vec<Token>> {
        let prepared = self.prepare(spots, width)?;
        let picks = self.pick(&drawn_from(spots, prepared.as_ref()), spots, Purpose::Draw, width)?;
        self.tell(spots, &picks, prepared.is_some(), width)
    }

    /// The rows that tokens are drawn from, one for each spot: after processors, temperature and filters. `None` if
    /// these change nothing.
    pub(crate) fn prepare(&self, spots: &[Spot<'_, B>], width: usize) -> Result<Option<B::Tensor>> {
        let edited = self.process(spots, width)?;
        match self.sampling.filter().filter(|f| !f.is_identity()) {
            Some(filter) => {
                self.backend.filter(&drawn_from(spots, edited.as_ref()), &filter, width).map(Some)
            }
            None => Ok(edited),
        }
    }

    /// Takes the first token of each row, or draws one with the uniform of its spot and purpose.
    pub(crate) fn pick(
        &self,
        rows: &[ScoreRow<'_, B>],
        spots: &[Spot<'_, B>],
        purpose: Purpose,
        width: usize,
    ) -> Result<Vec<Pick>> {
        if self.sampling.is_greedy() {
            return self.backend.argmax(rows, width);
        }
        let uniforms: Vec<_> = spots.iter().map(|s| self.uniform(s.row, s.position, purpose)).collect();
        self.backend.draw(rows, &uniforms, width)
    }

    pub(crate) fn uniform(&self, row: usize, position: usize, purpose: Purpose) -> f64 {
        Uniforms::new(self.sampling.seed).at(self.rows[row].id, position, purpose)
    }

    /// What is told of tokens that were chosen. `prepared` says that they were picked from other rows than those of
    /// the spots.
    ///
    /// # Errors
    /// [`Error::BadScores`] for a spot whose scores are unsound, and failures of the backend.
    pub(crate) fn tell(
        &self,
        spots: &[Spot<'_, B>],
        picks: &[Pick],
        prepared: bool,
        width: usize,
    ) -> Result<Vec<Token>> {
        let combined: Vec<_> = spots.iter().map(|s| s.scores).collect();
        let log_probs = if prepared {
            // An unsound pick may name no token at all.
            let tokens: Vec<_> = picks.iter().map(|p| vec![p.token.min(width as TokenId - 1)]).collect();
            let lists = self.backend.log_probs(&combined, &tokens, width)?;
            lists.into_iter().map(|list| list.first().copied().unwrap_or(f32::NAN)).collect::<Vec<_>>()
        } else {
            picks.iter().map(|p| p.log_prob).collect()
        };
        self.refuse_unsound(spots, picks, &log_probs, width)?;

        let mut alternatives = match self.alternatives {
            0 => vec![Vec::new(); picks.len()],
            k => self.backend.top(&combined, k, width)?,
        };
        let tokens = spots.iter().zip(picks).zip(log_probs).enumerate();
        let tokens = tokens.map(|(index, ((spot, pick), log_prob))| Token {
            id: pick.token,
            position: spot.position,
            log_prob,
            processed_log_prob: pick.log_prob,
            alternatives: std::mem::take(&mut alternatives[index]),
            attribution: None,
            known_mass: spot.known_mass,
        });
        Ok(tokens.collect())
    }

    /// Puts tokens behind those of their rows.
    pub(crate) fn remember(&mut self, tokens: impl IntoIterator<Item = (usize, TokenId)>) {
        tokens.into_iter().for_each(|(row, token)| self.rows[row].generated.push(token));
    }

    /// The next token of a batch of one row; `None` once it is a stop id or the limit of tokens is reached.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn next(&mut self, scores: &Scores<B>) -> Result<Option<TokenId>> {
        check::per_row("rows of a sampler", 1, self.rows.len())?;
        if self.max_tokens.is_some_and(|max| self.rows[0].generated.len() >= max) {
            return Ok(None);
        }
        let token = self.sample(scores)?[0].id;
        Ok((!self.stop_ids.contains(&token)).then_some(token))
    }

    /// The rows after processors, if there are any.
    fn process(&self, spots: &[Spot<'_, B>], width: usize) -> Result<Option<B::Tensor>> {
        if self.processors.is_empty() {
            return Ok(None);
        }
        let edits = spots.iter().map(|spot| {
            let row = &self.rows[spot.row];
            let generated = &row.generated[..spot.position];
            let of_processor = self.processors.iter().zip(&row.prompts);
            let edits =
                of_processor.map(|(processor, prompt)| processor.edits(&History { generated, prompt }));
            Ok(edits.collect::<Result<Vec<_>>>()?.concat())
        });
        let edits = edits.collect::<Result<Vec<_>>>()?;
        // In whatever form they are: where models give raw logits, a penalty that depends on the sign acts on those.
        Ok(Some(self.backend.edit(&drawn_from(spots, None), &edits, width)?))
    }

    fn refuse_unsound(
        &self,
        spots: &[Spot<'_, B>],
        picks: &[Pick],
        log_probs: &[f32],
        width: usize,
    ) -> Result<()> {
        for (spot, (pick, log_prob)) in spots.iter().zip(picks.iter().zip(log_probs)) {
            if pick.log_prob.is_nan() || log_prob.is_nan() {
                // The step has failed: now a row may cross, to tell why. One that is sound was spoilt by processors.
                let scores = self.backend.download(&[spot.scores], width)?;
                let fault = fault(&scores, false).unwrap_or(Fault::NothingAllowed);
                let (row, position) = (spot.row, spot.position);
                return Err(Error::BadScores { term: "the combination".into(), row, position, fault });
            }
        }
        Ok(())
    }

    /// Forgets that many tokens of each row.
    ///
    /// # Errors
    /// [`Error::RollbackTooFar`].
    pub fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rows.iter().map(|r| r.generated.len()).collect::<Vec<_>>())?;
        for (row, drop) in self.rows.iter_mut().zip(drop) {
            row.generated.truncate(row.generated.len() - drop);
        }
        Ok(())
    }

    /// Makes row `i` what row `rows[i]` was. A fork draws the same uniforms as its twin until it is given an id of
    /// its own by [`rename`](Self::rename).
    ///
    /// # Errors
    /// [`Error::EmptyBatch`], [`Error::RowOutOfRange`].
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }

    /// Gives rows other stable ids, from which their uniforms are made; at first a row's id is its index.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is an id for each row.
    pub fn rename(&mut self, ids: &[u64]) -> Result<()> {
        check::per_row("ids", self.rows.len(), ids.len())?;
        self.rows.iter_mut().zip(ids).for_each(|(row, id)| row.id = *id);
        Ok(())
    }
}
