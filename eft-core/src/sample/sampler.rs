use std::sync::Arc;

use super::decoding::Decoding;
use super::groups::{groups, some};
use super::row::{RowSampling, RowStart, RowState};
use super::scored_position::ScoredPosition;
use super::token::Token;
use super::uniform::{Purpose, RowId, Uniforms};
use crate::backend::{Backend, Pick, ScoreRow};
use crate::check;
use crate::fault::fault;
use crate::{Error, Fault, Result, Scores, TokenId};

/// Chooses the next token of each row of a batch, and remembers what it chose: the history that processors look at
/// and the positions that random numbers are made of.
///
/// ```
/// use eft_core::{from_fn, Host, LogitSource, RowFeed, Sampling, Session, Vocab};
///
/// let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
/// let model = from_fn(Host, vocab, |tokens| Ok(vec![0.0, 3.0 - tokens.len() as f32, 1.0]));
/// let mut sampler = model.sampler(Sampling::greedy(), 1)?;
/// let (mut session, mut scores) = model.open(&[vec![0].into()])?;
/// let mut text = Vec::new();
/// while let Some(token) = sampler.next(&scores)? {
///     text.push(token);
///     scores = session.extend(&[RowFeed::one(token)])?;
/// }
/// assert_eq!(text, [1, 1]);
/// # Ok::<(), eft_core::Error>(())
/// ```
pub struct Sampler<B: Backend> {
    pub(super) backend: B,
    stop_ids: Vec<TokenId>,
    max_tokens: Option<usize>,
    pub(super) rows: Vec<RowState>,
}

impl<B: Backend> Sampler<B> {
    /// Creates a sampler for a batch of `rows` rows at the ends of their prompts. Its only stop ids are those of
    /// `decoding`; [`Source::sampler`](crate::Source::sampler) adds those of the models.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if a setting is out of its range.
    pub fn new(backend: B, decoding: &Decoding, rows: usize) -> Result<Self> {
        decoding.validate()?;
        let sampling = Arc::new(RowSampling::of(decoding));
        let row = |index: u64| {
            let seed = decoding.sampling.seed;
            RowState::new(RowStart { id: index.into(), seed, sampling: sampling.clone() })
        };
        Ok(Self {
            backend,
            stop_ids: decoding.stop_ids.clone().unwrap_or_default(),
            max_tokens: decoding.max_tokens,
            rows: (0..rows as u64).map(row).collect(),
        })
    }

    /// Creates a sampler for rows that differ in how their tokens are chosen.
    pub(crate) fn of_rows(backend: B, rows: impl IntoIterator<Item = RowStart>) -> Self {
        let rows = rows.into_iter().map(RowState::new).collect();
        Self { backend, stop_ids: Vec::new(), max_tokens: None, rows }
    }

    /// Sets the prompts that processors request by [`Processor::prompt_of`](super::Processor::prompt_of):
    /// `prompt(term, row)` returns the token ids of a row's prompt as the term renders it.
    ///
    /// # Errors
    /// The errors of `prompt`.
    pub fn with_prompts<'a>(mut self, prompt: impl Fn(&str, usize) -> Result<&'a [TokenId]>) -> Result<Self> {
        for (row, state) in self.rows.iter_mut().enumerate() {
            state.read_prompts(|term| prompt(term, row))?;
        }
        Ok(self)
    }

    /// Sets the tokens that each row already has, as if they had been chosen here.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is one list for each row.
    pub fn with_generated<'a>(mut self, tokens: impl IntoIterator<Item = &'a [TokenId]>) -> Result<Self> {
        let tokens: Vec<_> = tokens.into_iter().collect();
        check::per_row("lists of tokens", self.rows.len(), tokens.len())?;
        self.rows.iter_mut().zip(tokens).for_each(|(row, tokens)| row.generated = tokens.to_vec());
        Ok(self)
    }

    /// Adds rows at the ends of their prompts. `prompt(term, row)` is that of [`with_prompts`](Self::with_prompts). An error
    /// adds none.
    pub(crate) fn join<'a>(
        &mut self,
        rows: impl IntoIterator<Item = RowStart>,
        prompt: impl Fn(&str, usize) -> Result<&'a [TokenId]>,
    ) -> Result<()> {
        let joined = (self.rows.len()..).zip(rows).map(|(row, start)| {
            let mut state = RowState::new(start);
            state.read_prompts(|term| prompt(term, row))?;
            Ok(state)
        });
        let joined = joined.collect::<Result<Vec<_>>>()?;
        self.rows.extend(joined);
        Ok(())
    }

    /// Returns whether the likeliest token of a row is always taken.
    pub(crate) fn is_greedy(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|row| row.sampling().sampling.is_greedy())
    }

    /// Returns the tokens chosen for a row so far; none if the batch has no such row.
    pub fn generated(&self, row: usize) -> &[TokenId] {
        self.rows.get(row).map_or(&[], |r| &r.generated)
    }

    /// Chooses a token for each row from its last position, and remembers it.
    ///
    /// # Errors
    /// With any of these errors, no token is remembered:
    /// * [`Error::Shape`] if the scores have another number of rows than the sampler.
    /// * [`Error::BadScores`] if no token can be chosen from the scores of a row.
    /// * [`Error::EditOutOfRange`] if a processor edits a token that the scores do not have.
    /// * Any error of a processor or of the backend.
    pub fn sample(&mut self, scores: &Scores<B>) -> Result<Vec<Token>> {
        check::per_row("scores to sample from", self.rows.len(), scores.rows())?;
        let last = scores.last()?.into_iter().enumerate();
        let positions: Vec<_> = last
            .map(|(row, last)| {
                let position = self.rows[row].generated.len();
                ScoredPosition { scores: last, row, position, coverage: scores.coverage(row) }
            })
            .collect();
        let tokens = self.choose(&positions, scores.width())?;
        self.remember(tokens.iter().enumerate().map(|(row, token)| (row, token.id)));
        Ok(tokens)
    }

    /// Chooses a token for each position, and remembers none of them.
    pub(crate) fn choose(&self, positions: &[ScoredPosition<'_, B>], width: usize) -> Result<Vec<Token>> {
        let prepared = self.prepare(positions, width)?;
        let picks = self.pick(&prepared.rows(positions), positions, Purpose::Draw, width)?;
        self.build_tokens(positions, &picks, width)
    }

    /// Picks a token from each score row: the likeliest one, or one drawn with the random number of its position and
    /// purpose.
    pub(crate) fn pick(
        &self,
        rows: &[ScoreRow<'_, B>],
        positions: &[ScoredPosition<'_, B>],
        purpose: Purpose,
        width: usize,
    ) -> Result<Vec<Pick>> {
        let mut picks = vec![Pick { token: 0, log_prob: f32::NAN }; positions.len()];
        for (greedy, which) in groups(positions.iter().map(|p| Some(self.is_greedy(p.row))), |a, b| a == b) {
            let rows = some(rows, &which);
            let picked = if greedy {
                self.backend.argmax(&rows, width)?
            } else {
                let uniforms = which.iter().map(|index| &positions[*index]);
                let uniforms: Vec<_> = uniforms.map(|p| self.uniform(p.row, p.position, purpose)).collect();
                self.backend.draw(&rows, &uniforms, width)?
            };
            which.into_iter().zip(picked).for_each(|(index, pick)| picks[index] = pick);
        }
        Ok(picks)
    }

    /// Returns the random number that draws a token of a row, counted from the next one; `None` at a temperature below 0.5, where the
    /// number says less about the token than the model's likeliest token does, and if there is no such row. See
    /// [`Session::foresee`](crate::Session::foresee).
    #[must_use]
    pub fn draw_of(&self, row: usize, token: usize) -> Option<f64> {
        let row_state = self.rows.get(row)?;
        let sampling = &row_state.sampling().sampling;
        let next = row_state.generated.len();
        if sampling.is_greedy() || sampling.temperature < 0.5 {
            return None;
        }
        Some(self.uniform(row, next + token, Purpose::Draw))
    }

    /// Returns the random number of a row, a position and a purpose.
    pub(crate) fn uniform(&self, row: usize, position: usize, purpose: Purpose) -> f64 {
        let start = &self.rows[row].start;
        Uniforms::new(start.seed).at(start.id, position, purpose)
    }

    /// Builds the reported tokens from the picks.
    ///
    /// # Errors
    /// * [`Error::BadScores`] if no token can be chosen from the scores of a position.
    /// * Any error of the backend.
    pub(crate) fn build_tokens(
        &self,
        positions: &[ScoredPosition<'_, B>],
        picks: &[Pick],
        width: usize,
    ) -> Result<Vec<Token>> {
        let combined: Vec<_> = positions.iter().map(|p| p.scores).collect();
        let sampling = |index: usize| self.rows[positions[index].row].sampling();
        // A pick from scores that were changed has another log-probability than in the combination.
        let mut log_probs: Vec<_> = picks.iter().map(|p| p.log_prob).collect();
        let changed: Vec<_> = (0..picks.len()).filter(|index| sampling(*index).changes_scores()).collect();
        if !changed.is_empty() {
            // The pick from an unsound row may name a token that does not exist.
            let token = |index: &usize| vec![picks[*index].token.min(width as TokenId - 1)];
            let tokens: Vec<_> = changed.iter().map(token).collect();
            let lists = self.backend.log_probs(&some(&combined, &changed), &tokens, width)?;
            for (index, list) in changed.into_iter().zip(lists) {
                log_probs[index] = list.first().copied().unwrap_or(f32::NAN);
            }
        }
        self.refuse_unsound(positions, picks, &log_probs, width)?;

        let mut alternatives = vec![Vec::new(); picks.len()];
        let reported: Vec<_> = (0..picks.len()).filter(|index| sampling(*index).alternatives > 0).collect();
        if let Some(most) = reported.iter().map(|index| sampling(*index).alternatives).max() {
            let top = self.backend.top(&some(&combined, &reported), most, width)?;
            for (index, mut top) in reported.into_iter().zip(top) {
                top.truncate(sampling(index).alternatives);
                alternatives[index] = top;
            }
        }
        let undisturbed =
            |index| sampling(index).sampling.is_greedy() && sampling(index).processors.is_empty();
        let tokens = positions.iter().zip(picks).zip(log_probs).enumerate();
        let tokens = tokens.map(|(index, ((scored, pick), log_prob))| Token {
            id: pick.token,
            position: scored.position,
            log_prob,
            processed_log_prob: pick.log_prob,
            alternatives: std::mem::take(&mut alternatives[index]),
            attribution: None,
            known_mass: scored.coverage.map(|coverage| coverage.known_mass),
            // A processor may prefer another token than the best one.
            proven: scored.coverage.and_then(|coverage| coverage.proven).filter(|_| undisturbed(index)),
            missed_mass: scored.coverage.and_then(|coverage| coverage.missed_mass),
        });
        Ok(tokens.collect())
    }

    /// Appends tokens to those of their rows.
    pub(crate) fn remember(&mut self, tokens: impl IntoIterator<Item = (usize, TokenId)>) {
        tokens.into_iter().for_each(|(row, token)| self.rows[row].generated.push(token));
    }

    /// Returns the tokens that the first processor that forces any puts after those of a row: at most `most`.
    pub(crate) fn forced(&self, row: usize, most: usize) -> Result<Vec<TokenId>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let state = &self.rows[row];
        for (processor, history) in state.processors(state.generated.len()) {
            let mut forced = processor.forced(&history)?;
            if !forced.is_empty() {
                forced.truncate(most);
                return Ok(forced);
            }
        }
        Ok(Vec::new())
    }

    /// Returns the next token of a batch of one row; `None` if it is a stop id, or if the limit of tokens is reached.
    ///
    /// # Errors
    /// * [`Error::Shape`] if the sampler has more than one row.
    /// * The errors of [`sample`](Self::sample).
    pub fn next(&mut self, scores: &Scores<B>) -> Result<Option<TokenId>> {
        check::per_row("rows of a sampler", 1, self.rows.len())?;
        if self.max_tokens.is_some_and(|max| self.rows[0].generated.len() >= max) {
            return Ok(None);
        }
        let token = self.sample(scores)?[0].id;
        Ok((!self.stop_ids.contains(&token)).then_some(token))
    }

    fn refuse_unsound(
        &self,
        positions: &[ScoredPosition<'_, B>],
        picks: &[Pick],
        log_probs: &[f32],
        width: usize,
    ) -> Result<()> {
        for (scored, (pick, log_prob)) in positions.iter().zip(picks.iter().zip(log_probs)) {
            if pick.log_prob.is_nan() || log_prob.is_nan() {
                // The step has failed, so the row may be downloaded to find the reason. If the combined scores are
                // sound, the processors have made them unsound.
                let scores = self.backend.download(&[scored.scores], width)?;
                let fault = fault(&scores, false).unwrap_or(Fault::NothingAllowed);
                let (row, position) = (scored.row, scored.position);
                return Err(Error::BadScores { term: "the combination".into(), row, position, fault });
            }
        }
        Ok(())
    }

    /// Forgets the last `drop[row]` tokens of each row.
    ///
    /// # Errors
    /// * [`Error::Shape`] unless there is one number for each row.
    /// * [`Error::RollbackTooFar`] if a row has fewer tokens.
    pub fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rows.iter().map(|r| r.generated.len()).collect::<Vec<_>>())?;
        for (row, drop) in self.rows.iter_mut().zip(drop) {
            row.generated.truncate(row.generated.len() - drop);
        }
        Ok(())
    }

    /// Makes row `i` a copy of the former row `rows[i]`. Copies of one row draw the same random numbers until
    /// [`rename`](Self::rename) gives them different ids.
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`] if `rows` is empty.
    /// * [`Error::RowOutOfRange`] if it names a row that does not exist.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }

    /// Gives the rows other stable ids, from which their random numbers are made. At first the id of a row is its
    /// index.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is one id for each row.
    pub fn rename<I: Into<RowId> + Copy>(&mut self, ids: &[I]) -> Result<()> {
        check::per_row("ids", self.rows.len(), ids.len())?;
        self.rows.iter_mut().zip(ids).for_each(|(row, id)| row.start.id = (*id).into());
        Ok(())
    }
}
