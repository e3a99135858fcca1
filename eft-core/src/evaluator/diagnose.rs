//! Finds the term at fault when a score row has turned out to be unusable.
use super::Evaluator;
use crate::backend::{Backend, ScoreRow};
use crate::fault::fault;
use crate::{Error, Fault, Form, Result};

impl<B: Backend> Evaluator<B> {
    /// Returns the error that names the term at fault for the unusable scores of a root at one position.
    ///
    /// That is the first term with a NaN, with +∞ or without any finite score, or with −∞ where the term is subtracted.
    /// If all terms are sound one by one, it is the root itself. Score rows are downloaded to find it, so call this
    /// only once something is wrong: when a [`Pick`](crate::Pick) has a log-probability of NaN.
    ///
    /// The error is [`Error::BadScores`], unless the root index is out of range or a download fails.
    ///
    /// ```
    /// use eft_core::{from_fn, Error, Evaluator, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let good = from_fn(Host, vocab.clone(), |_| Ok(vec![1.0, 0.0])).named("good");
    /// let bad = from_fn(Host, vocab, |_| Ok(vec![f32::NAN, 0.0])).named("bad");
    /// let mut evaluator = Evaluator::open(&[&(&good + &bad)], &[vec![0].into()])?;
    /// evaluator.eval_last(0)?;
    /// assert!(matches!(evaluator.diagnose(0, 0, 0), Error::BadScores { term, .. } if term == "bad"));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    #[must_use]
    pub fn diagnose(&self, root: usize, row: usize, position: usize) -> Error {
        self.find_fault(root, row, position).unwrap_or_else(|error| error)
    }

    /// The error of a sampler that refused a score row, with the name of the term at fault.
    pub(crate) fn explain(&self, root: usize, error: Error) -> Error {
        let Error::BadScores { term, row, position, fault } = error else { return error };
        if fault == Fault::NothingAllowed {
            let term = self.name(root).unwrap_or(&term).into();
            return Error::BadScores { term, row, position, fault };
        }
        self.diagnose(root, row, position)
    }

    fn find_fault(&self, root: usize, row: usize, position: usize) -> Result<Error> {
        let root = self.root(root)?;
        let width = root.common.width;
        let mut signs = Vec::new();
        root.expr.signs(false, &mut signs);
        let bad = |term: &str, fault| Error::BadScores { term: term.into(), row, position, fault };
        let mut finite_in_all: Option<Vec<bool>> = None;
        for (model, subtracted) in signs {
            let model = &self.models[model];
            let Some(scores) = model.scores.get(row, position) else { continue };
            let scores = self.backend.download(&[ScoreRow::new(scores.tensor, scores.index)], width)?;
            if let Some(fault) = fault(&scores, subtracted && model.scores.form() != Form::Partial) {
                return Ok(bad(&model.name, fault));
            }
            let finite = finite_in_all.get_or_insert_with(|| vec![true; scores.len()]);
            finite.iter_mut().zip(&scores).for_each(|(f, s)| *f &= s.is_finite());
        }
        let nothing = finite_in_all.is_some_and(|finite| !finite.contains(&true));
        Ok(bad(&root.name, if nothing { Fault::NothingInCommon } else { Fault::Unsound }))
    }
}
