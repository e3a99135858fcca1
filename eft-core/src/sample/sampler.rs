use std::sync::Arc;

use super::{History, Processor, Purpose, Sampling, Uniforms};
use crate::backend::{Backend, Pick, Row, rows_of};
use crate::check;
use crate::decode::{Attribution, Decoding};
use crate::joint::blame::fault;
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
    pub covered: Option<f32>,
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
        let combined = scores.last()?;
        let width = scores.width();

        let edited = self.process(scores, &combined)?;
        let edited_rows = edited.as_ref().map(|t| rows_of(t, combined.len()));
        let rows = edited_rows.as_ref().unwrap_or(&combined);
        let filtered = match self.sampling.filter().filter(|f| !f.is_identity()) {
            Some(filter) => Some(self.backend.filter(rows, &filter, width)?),
            None => None,
        };
        let filtered_rows = filtered.as_ref().map(|t| rows_of(t, combined.len()));
        let rows = filtered_rows.as_ref().unwrap_or(rows);

        let picks = if self.sampling.is_greedy() {
            self.backend.argmax(rows, width)?
        } else {
            let uniforms = Uniforms::new(self.sampling.seed);
            let at = self.rows.iter().map(|r| uniforms.at(r.id, r.generated.len(), Purpose::Draw));
            self.backend.draw(rows, &at.collect::<Vec<_>>(), width)?
        };
        let log_probs = if edited.is_none() && filtered.is_none() {
            picks.iter().map(|p| p.log_prob).collect()
        } else {
            // An unsound pick may name no token at all.
            let tokens: Vec<_> = picks.iter().map(|p| vec![p.token.min(width as TokenId - 1)]).collect();
            let lists = self.backend.log_probs(&combined, &tokens, width)?;
            lists.into_iter().map(|list| list.first().copied().unwrap_or(f32::NAN)).collect::<Vec<_>>()
        };
        self.refuse_unsound(&picks, &log_probs, &combined, width)?;

        let mut alternatives = match self.alternatives {
            0 => vec![Vec::new(); picks.len()],
            k => self.backend.top(&combined, k, width)?,
        };
        let tokens = self.rows.iter_mut().zip(picks).zip(log_probs).enumerate();
        let tokens = tokens.map(|(row, ((state, pick), log_prob))| {
            let position = state.generated.len();
            state.generated.push(pick.token);
            Token {
                id: pick.token,
                position,
                log_prob,
                processed_log_prob: pick.log_prob,
                alternatives: std::mem::take(&mut alternatives[row]),
                attribution: None,
                covered: scores.covered(row),
            }
        });
        Ok(tokens.collect())
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
    fn process(&self, scores: &Scores<B>, rows: &[Row<'_, B>]) -> Result<Option<B::Tensor>> {
        if self.processors.is_empty() {
            return Ok(None);
        }
        let edits = self.rows.iter().map(|row| {
            let of_processor = self.processors.iter().zip(&row.prompts);
            let edits = of_processor
                .map(|(processor, prompt)| processor.edits(&History { generated: &row.generated, prompt }));
            Ok(edits.collect::<Result<Vec<_>>>()?.concat())
        });
        let edits = edits.collect::<Result<Vec<_>>>()?;
        // In whatever form they are: where models give raw logits, a penalty that depends on the sign acts on those.
        Ok(Some(self.backend.edit(rows, &edits, scores.width())?))
    }

    fn refuse_unsound(
        &self,
        picks: &[Pick],
        log_probs: &[f32],
        combined: &[Row<'_, B>],
        width: usize,
    ) -> Result<()> {
        for (row, (pick, log_prob)) in picks.iter().zip(log_probs).enumerate() {
            if pick.log_prob.is_nan() || log_prob.is_nan() {
                // The step has failed: now a row may cross, to tell why. One that is sound was spoilt by processors.
                let scores = self.backend.download(&combined[row..=row], width)?;
                let fault = fault(&scores, false).unwrap_or(Fault::NothingAllowed);
                let position = self.rows[row].generated.len();
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
