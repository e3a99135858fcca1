//! Evaluating roots: which models run, and at which positions.
use std::ops::Range;

use super::Evaluator;
use crate::backend::Backend;
use crate::check;
use crate::{Error, Result, Scores};

impl<B: Backend> Evaluator<B> {
    /// Returns the scores of a root at a range of positions for each row. Runs only the models that lack scores there.
    ///
    /// An empty range requests no scores of its row. The result has one score row for each position, as wide as the
    /// [common vocabulary](Self::width) of the root. They are raw logits if the root is a weighted sum of models that
    /// return raw logits, else log-probabilities: see [`Scores::form`].
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&model], &[vec![0].into(), vec![1].into()])?;
    /// evaluator.push(&[vec![1, 0], vec![]])?;
    /// // Two positions of the first row: after its prompt and one token, and after both.
    /// let scores = evaluator.eval(0, &[1..3, 0..0])?;
    /// assert_eq!((scores.positions(0).len(), scores.positions(1).len()), (2, 0));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Unknown`] if the root index is out of range.
    /// * [`Error::Shape`] unless there is a range for each row, which ends at most one after the number of its pushed
    ///   tokens; or if a model or rule returns scores of another shape.
    /// * [`Error::ContextFull`] if the pushed tokens do not fit into a model's context.
    /// * [`Error::Forgotten`] for position 0 after [`commit`](Self::commit), if the model cannot feed the end of its
    ///   prompt again.
    /// * [`Error::PartialRows`] if a rule is applied to a black box that reports only its top tokens.
    /// * [`Error::Poisoned`] after an earlier failure.
    /// * Any error of a model or of the backend.
    ///
    /// Pushed tokens stay pushed and the call can be repeated, unless a model failed while it fed the end of its prompt
    /// again: that poisons the evaluator.
    pub fn eval(&mut self, root: usize, at: &[Range<usize>]) -> Result<Scores<B>> {
        self.check_positions(at)?;
        let models = self.root(root)?.expr.models();
        self.run(&models, at)?;
        self.compute(self.root(root)?, at)
    }

    /// Runs the models that [`eval`](Self::eval) would run for `root`, except for those that `draft` runs as well, and
    /// combines nothing. A later [`eval`](Self::eval) of these positions runs only the rest.
    ///
    /// Speculative decoding verifies a draft by a term of its target with it: the draft's own scores after its last token
    /// cost another pass, and are needed only if all of its tokens are accepted.
    ///
    /// A model that both roots run is not left out if a model that only `root` runs shares its session, since one pass
    /// then runs both.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let calls = Arc::new(AtomicUsize::new(0));
    /// let counter = calls.clone();
    /// let small = from_fn(Host, vocab.clone(), move |_| {
    ///     counter.fetch_add(1, Ordering::Relaxed);
    ///     Ok(vec![0.0, 1.0])
    /// });
    /// let large = from_fn(Host, vocab, |_| Ok(vec![1.0, 0.0]));
    /// let mut evaluator = Evaluator::open(&[&(&large + &small), &small], &[vec![0].into()])?;
    /// evaluator.push(&[vec![1, 1]])?;
    ///
    /// let before = calls.load(Ordering::Relaxed);
    /// evaluator.run_without(0, 1, &[1..3])?;
    /// assert_eq!(calls.load(Ordering::Relaxed), before);
    /// evaluator.eval(0, &[1..3])?;
    /// assert_eq!(calls.load(Ordering::Relaxed), before + 2);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`eval`](Self::eval).
    pub fn run_without(&mut self, root: usize, draft: usize, at: &[Range<usize>]) -> Result<()> {
        self.check_positions(at)?;
        let left_out = self.of_draft_alone(root, draft)?;
        let mut models = self.root(root)?.expr.models();
        models.retain(|model| !left_out.contains(model));
        self.run(&models, at)
    }

    /// The models of a root that [`run_without`](Self::run_without) leaves out.
    pub(crate) fn of_draft_alone(&self, root: usize, draft: usize) -> Result<Vec<usize>> {
        let (models, drafts) = (self.root(root)?.expr.models(), self.root(draft)?.expr.models());
        let session = |model: &usize| self.models[*model].session;
        let shared: Vec<_> = models.iter().filter(|m| !drafts.contains(m)).map(session).collect();
        Ok(models.iter().copied().filter(|m| drafts.contains(m) && !shared.contains(&session(m))).collect())
    }

    /// Runs the models that [`eval`](Self::eval) would run for several roots, each at positions of its own, and combines
    /// nothing. A later [`eval`](Self::eval) of a root at its positions runs nothing.
    ///
    /// A model that several roots use runs in one pass over all positions that any of them needs, so rows that differ only
    /// in their root share its passes. `wanted` has the index of each root, and a range of positions for each row. If a
    /// model is needed at two ranges of a row, it also scores the positions between them.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use eft_core::{Evaluator, Host, Vocab, from_fn};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let calls = Arc::new(AtomicUsize::new(0));
    /// let counter = calls.clone();
    /// let large = from_fn(Host, vocab.clone(), move |_| {
    ///     counter.fetch_add(1, Ordering::Relaxed);
    ///     Ok(vec![1.0, 0.0])
    /// });
    /// let small = from_fn(Host, vocab, |_| Ok(vec![0.0, 1.0]));
    /// let mut evaluator = Evaluator::open(&[&large, &(&large + &small)], &[vec![0].into(), vec![1].into()])?;
    /// evaluator.push(&[vec![1], vec![0]])?;
    ///
    /// // The first root is wanted in the first row, and the second root in the other.
    /// let (first, second) = ([1..2, 0..0], [0..0, 1..2]);
    /// let before = calls.load(Ordering::Relaxed);
    /// evaluator.run_roots(&[(0, &first), (1, &second)])?;
    /// assert_eq!(calls.load(Ordering::Relaxed), before + 2);
    /// evaluator.eval(0, &first)?;
    /// evaluator.eval(1, &second)?;
    /// assert_eq!(calls.load(Ordering::Relaxed), before + 2);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`eval`](Self::eval).
    pub fn run_roots(&mut self, wanted: &[(usize, &[Range<usize>])]) -> Result<()> {
        let mut of_models: Vec<Option<Vec<Range<usize>>>> = vec![None; self.models.len()];
        for (root, at) in wanted {
            self.check_positions(at)?;
            for model in self.root(*root)?.expr.models() {
                match &mut of_models[model] {
                    Some(all) => all.iter_mut().zip(*at).for_each(|(all, at)| *all = hull(all, at)),
                    none => *none = Some(at.to_vec()),
                }
            }
        }
        self.run_each(&of_models.iter().map(Option::as_deref).collect::<Vec<_>>())
    }

    /// Returns the scores of a root from position `from[i]` of row `i` to its last position: the one after all pushed
    /// tokens.
    ///
    /// # Errors
    /// * [`Error::Shape`] unless there is a position for each row.
    /// * Any error of [`eval`](Self::eval), such as a root index out of range, a full context, or a failure of a model.
    pub fn eval_from(&mut self, root: usize, from: &[usize]) -> Result<Scores<B>> {
        check::per_row("positions", self.rows(), from.len())?;
        let at: Vec<_> =
            from.iter().zip(&self.pushed).map(|(from, pushed)| *from..pushed.len() + 1).collect();
        self.eval(root, &at)
    }

    /// Returns the scores of a root for the next token of each row: one score row for each row of the batch.
    ///
    /// # Errors
    /// * [`Error::Unknown`] if the root index is out of range.
    /// * [`Error::ContextFull`] if the pushed tokens do not fit into a model's context.
    /// * [`Error::Poisoned`] after an earlier failure.
    /// * Any other error of [`eval`](Self::eval), such as a failure of a model.
    pub fn eval_last(&mut self, root: usize) -> Result<Scores<B>> {
        let at = self.last_positions();
        self.eval(root, &at)
    }

    /// Checks the positions that a call requests, before anything is run.
    pub(super) fn check_positions(&self, at: &[Range<usize>]) -> Result<()> {
        self.check_poison()?;
        check::per_row("positions", self.rows(), at.len())?;
        for (row, (at, pushed)) in at.iter().zip(&self.pushed).enumerate() {
            if !at.is_empty() && at.end > pushed.len() + 1 {
                let expected = format!("at most {}", pushed.len());
                return Err(Error::shape(format!("positions of row {row}"), expected, at.end - 1));
            }
        }
        Ok(())
    }
}

/// The smallest range that holds two ranges, of which either may be empty.
fn hull(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => a.start.min(b.start)..a.end.max(b.end),
    }
}
