//! [`Tester`]: the reference that the scores of sessions are compared with.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::backend::{Backend, score_rows};
use crate::conformance::{Law, Result, SourceTest, require};
use crate::{Form, Opened, Scores, TokenId, Vocab};

/// A source or an engine whose sessions are checked.
pub(in super::super) trait Model<B: Backend> {
    fn backend(&self) -> &B;

    fn vocab(&self) -> &Vocab;

    /// How many prompts there are to open.
    fn rows(&self) -> usize;

    /// How many tokens a row is opened on, where this is known.
    fn prompt_length(&self, row: &Row) -> Option<usize>;

    /// How many tokens a row can hold, prompt included, where this is known; `usize::MAX` if there is no limit.
    fn context(&self) -> Option<usize>;

    /// Opens a session on the prompts of these rows, without the tokens after them.
    fn open(&self, rows: &[Row]) -> crate::Result<Opened<B>>;

    /// The scores after a row's prompt and tokens, from a session opened for this row alone.
    fn afresh(&self, row: &Row) -> crate::Result<Scores<B>>;
}

/// The tokens that a row of a session should hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Row {
    /// Index of the prompt it was opened on.
    pub(in super::super) prompt: usize,
    /// How many tokens were dropped from the end of the prompt.
    pub(in super::super) dropped: usize,
    /// The tokens after the prompt.
    pub(in super::super) tokens: Vec<TokenId>,
}

impl Row {
    pub(in super::super) fn new(prompt: usize) -> Self {
        Self { prompt, dropped: 0, tokens: Vec::new() }
    }
}

/// Compares scores with those of sessions opened for one row alone.
pub(in super::super) struct Tester<'a, B: Backend> {
    pub(in super::super) model: &'a dyn Model<B>,
    pub(in super::super) test: &'a SourceTest,
    /// Log-probabilities after a row, from a session opened for it alone.
    expected: RefCell<HashMap<Row, Vec<f32>>>,
    /// How many more steps of the injector succeed before one fails, if one is to fail.
    pub(in super::super) fail_after: Cell<Option<usize>>,
}

impl<'a, B: Backend> Tester<'a, B> {
    pub(in super::super) fn new(model: &'a dyn Model<B>, test: &'a SourceTest) -> Self {
        Self { model, test, expected: RefCell::default(), fail_after: Cell::new(None) }
    }

    pub(super) fn all_rows(&self) -> Vec<Row> {
        (0..self.model.rows()).map(Row::new).collect()
    }

    /// Makes a call under the pending fault, if there is one. Returns its result and whether the fault occurred.
    pub(in super::super) fn under_fault<T>(&self, call: impl FnOnce() -> T) -> (T, bool) {
        let (Some(injector), Some(steps)) = (self.test.injector(), self.fail_after.get()) else {
            return (call(), false);
        };
        injector.fail_after(steps);
        let result = call();
        let left = injector.disarm();
        self.fail_after.set(left);
        (result, left.is_none())
    }

    /// Checks scores of which the last `wanted[i]` positions of row `i` were requested.
    pub(in super::super) fn check_scores(
        &self,
        law: &str,
        scores: &Scores<B>,
        rows: &[Row],
        wanted: &[usize],
    ) -> Result {
        let (backend, width) = (self.model.backend(), self.model.vocab().real());
        scores
            .check(backend, "the model", wanted, width)
            .law("scores have the requested rows, positions and width")?;
        let positions: Vec<_> = (0..rows.len()).flat_map(|row| scores.positions(row)).collect();
        if positions.is_empty() {
            return Ok(());
        }
        if scores.form() != Form::Logits {
            let masses =
                backend.log_normalizers(&positions, scores.width()).law("scores can be normalised")?;
            let tolerance = self.test.allowed_difference();
            let sound = |mass: &f32| match scores.form() {
                Form::LogProbs => mass.abs() <= tolerance,
                _ => *mass <= tolerance,
            };
            let wrong = masses.iter().find(|mass| !sound(mass));
            require(wrong.is_none(), "log-probabilities are normalised", || {
                format!("the logarithm of their sum is {:?}", wrong.unwrap_or(&f32::NAN))
            })?;
        }
        let normalised = backend.log_softmax(&positions, width).law("scores can be normalised")?;
        let values = backend
            .download(&score_rows(&normalised, positions.len()), width)
            .law("scores can be downloaded")?;
        let mut values = values.chunks(width);
        for (row, wanted) in rows.iter().zip(wanted) {
            for (back, got) in (0..*wanted).rev().zip(&mut values) {
                let tokens = row.tokens[..row.tokens.len() - back].to_vec();
                self.check_position(law, &Row { tokens, ..*row }, got)?;
            }
        }
        Ok(())
    }

    /// Compares log-probabilities with those of a session opened for this row alone.
    fn check_position(&self, law: &str, row: &Row, got: &[f32]) -> Result {
        if !self.expected.borrow().contains_key(row) {
            let log_probs = self.log_probs_afresh(row)?;
            self.expected.borrow_mut().insert(row.clone(), log_probs);
        }
        let known = self.expected.borrow();
        let expected = &known[row];
        // Equal infinities have no difference.
        let near = |a: f32, b: f32| a == b || (a - b).abs() <= self.test.allowed_difference();
        let far = expected.iter().zip(got).position(|(a, b)| !near(*a, *b));
        require(far.is_none(), law, || {
            let token = far.unwrap_or(0);
            format!(
                "{row:?}: the log-probability of token {token} is {}, expected {}",
                got[token], expected[token]
            )
        })
    }

    fn log_probs_afresh(&self, row: &Row) -> Result<Vec<f32>> {
        let (backend, width) = (self.model.backend(), self.model.vocab().real());
        let scores = self.model.afresh(row).law("a row can be opened alone")?;
        scores.check(backend, "the model", &[1], width).law("opening a row scores one position")?;
        let normalised = backend.log_softmax(&scores.positions(0), width).law("scores can be normalised")?;
        backend.download(&score_rows(&normalised, 1), width).law("scores can be downloaded")
    }
}
