//! Changing the rows: appending and dropping tokens, and copying, dropping and reordering rows.
use super::Evaluator;
use crate::backend::Backend;
use crate::check;
use crate::error::with_sources;
use crate::{Result, Session, TokenId};

impl<B: Backend> Evaluator<B> {
    /// Appends tokens to each row, without computing anything. They are fed to a model when scores after them are
    /// needed.
    ///
    /// `tokens` has a list for each row, which may be empty.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0].into(), vec![1].into()])?;
    /// evaluator.push(&[vec![1, 1], vec![]])?;
    /// assert_eq!((evaluator.pushed(0), evaluator.pushed(1)), (&[1, 1][..], &[][..]));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a list for each row.
    /// * [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange) if a model has no such token.
    /// * [`Error::Poisoned`](crate::Error::Poisoned) after an earlier failure.
    ///
    /// Nothing is appended then.
    pub fn push(&mut self, tokens: &[Vec<TokenId>]) -> Result<()> {
        self.check_poison()?;
        check::per_row("tokens to push", self.rows(), tokens.len())?;
        for (row, tokens) in tokens.iter().enumerate() {
            for model in &self.models {
                check::within(&model.name, row, tokens, model.model.vocab().width())?;
            }
        }
        for (pushed, tokens) in self.pushed.iter_mut().zip(tokens) {
            pushed.extend(tokens);
        }
        Ok(())
    }

    /// Appends a token to each row as [`push`](Self::push) does, and forgets all stored scores. The rows will only be
    /// evaluated at their new last positions, by roots that have chosen these tokens; so other models need not know them.
    pub(crate) fn advance(&mut self, tokens: &[TokenId]) -> Result<()> {
        self.check_poison()?;
        check::per_row("tokens to push", self.rows(), tokens.len())?;
        self.pushed.iter_mut().zip(tokens).for_each(|(pushed, token)| pushed.push(*token));
        self.models.iter_mut().for_each(|model| model.scores.clear());
        Ok(())
    }

    /// Drops `drop[i]` pushed tokens from the end of row `i`, fed or not, as if they had never been pushed.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0].into()])?;
    /// evaluator.push(&[vec![1, 0, 1]])?;
    /// evaluator.rollback(&[2])?;
    /// assert_eq!(evaluator.pushed(0), [1]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a number for each row.
    /// * [`Error::RollbackTooFar`](crate::Error::RollbackTooFar) if a row has fewer pushed tokens. Nothing is dropped
    ///   then.
    /// * [`Error::Poisoned`](crate::Error::Poisoned) after an earlier failure.
    /// * Any error of a model, which poisons the evaluator.
    pub fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        self.check_poison()?;
        check::rollback(drop, &self.pushed.iter().map(Vec::len).collect::<Vec<_>>())?;
        let rows = self.rows();
        let lengths: Vec<_> = self.pushed.iter().zip(drop).map(|(p, d)| p.len() - d).collect();
        for open in &mut self.sessions {
            let mut of_session = vec![0; rows * open.models.len() + open.parked.len()];
            for &model in &open.models {
                let model = &self.models[model];
                for (row, length) in lengths.iter().enumerate() {
                    of_session[model.block * rows + row] = model.fed[row].saturating_sub(*length);
                }
            }
            if of_session.iter().all(|d| *d == 0) {
                continue;
            }
            if let Err(error) = open.session.rollback(&of_session) {
                self.poison = Some(with_sources(&error));
                return Err(error);
            }
        }
        for model in &mut self.models {
            model.fed.iter_mut().zip(&lengths).for_each(|(fed, length)| *fed = (*fed).min(*length));
            model.scores.truncate(lengths.iter().copied());
        }
        self.pushed.iter_mut().zip(lengths).for_each(|(pushed, length)| pushed.truncate(length));
        Ok(())
    }

    /// Makes row `i` a copy of the former row `rows[i]`: copies a row that is named twice, drops a row that is not
    /// named, and reorders. The batch then has `rows.len()` rows.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0].into(), vec![1].into()])?;
    /// evaluator.push(&[vec![0], vec![1]])?;
    /// evaluator.select(&[1, 1, 0])?;
    /// assert_eq!((evaluator.rows(), evaluator.pushed(1)), (3, &[1][..]));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`](crate::Error::EmptyBatch) if `rows` is empty.
    /// * [`Error::RowOutOfRange`](crate::Error::RowOutOfRange) if there is no such row. Nothing is changed then.
    /// * [`Error::Poisoned`](crate::Error::Poisoned) after an earlier failure.
    /// * Any error of a model, which poisons the evaluator.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.check_poison()?;
        let old = self.rows();
        check::select(rows, old)?;
        self.clock += 1;
        let mut selected = vec![false; old];
        rows.iter().for_each(|row| selected[*row] = true);
        let left: Vec<_> = (0..old).filter(|row| !selected[*row]).collect();
        for index in 0..self.sessions.len() {
            let parked = self.to_park(index, &left);
            let open = &mut self.sessions[index];
            let blocks = 0..open.models.len();
            let of_models = blocks.flat_map(|b| rows.iter().map(move |row| b * old + row));
            let of_session: Vec<_> = of_models.chain(parked.iter().map(|(row, _)| *row)).collect();
            open.parked = parked.into_iter().map(|(_, parked)| parked).collect();
            if let Err(error) = open.session.select(&of_session) {
                self.poison = Some(with_sources(&error));
                return Err(error);
            }
        }
        for model in &mut self.models {
            model.fed = rows.iter().map(|row| model.fed[*row]).collect();
            model.scores.select(rows);
            model.inputs.select(rows);
        }
        self.prompts = rows.iter().map(|row| self.prompts[*row].clone()).collect();
        self.pushed = rows.iter().map(|row| self.pushed[*row].clone()).collect();
        Ok(())
    }

    /// Forgets all stored scores but those of the last position of each row that has any. A decoding loop that does
    /// not look further back calls this to bound its memory.
    ///
    /// Forgotten scores are computed again when they are requested, by feeding tokens again.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0].into()])?;
    /// for token in [1, 0, 1] {
    ///     evaluator.push(&[vec![token]])?;
    ///     evaluator.eval_last(0)?;
    ///     evaluator.commit();
    /// }
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn commit(&mut self) {
        self.models.iter_mut().for_each(|m| m.scores.keep_last());
    }
}
