//! Finding the term at fault, once a row of scores has turned out to be unsound.
use super::Evaluator;
use super::plan::Expr;
use crate::backend::{Backend, ScoreRow};
pub(crate) use crate::fault::fault;
use crate::{Error, Fault, Result};

impl<B: Backend> Evaluator<B> {
    /// Names the term that makes a root's scores unsound at a position: the first with NaN, +∞ or nothing finite,
    /// or with −∞ where it is subtracted. Rows cross to the host for it, so call it once something is wrong: a
    /// [`Pick`](crate::Pick) whose log-probability is NaN.
    ///
    /// The error is [`Error::BadScores`] of the term; of the root itself, if its terms are sound one by one.
    pub fn diagnose(&self, root: usize, row: usize, position: usize) -> Error {
        self.find_fault(root, row, position).unwrap_or_else(|error| error)
    }

    /// The same, of a row that a sampler has refused.
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
        let mut subtracted = Vec::new();
        signs(&root.expr, false, &mut subtracted);
        let bad = |term: &str, fault| Error::BadScores { term: term.into(), row, position, fault };
        let mut all_finite: Option<Vec<bool>> = None;
        for (stream, negative) in subtracted {
            let stream = &self.streams[stream];
            let Some(scores) = stream.scores.get(row, position) else { continue };
            let scores = self.backend.download(&[ScoreRow::new(scores.tensor, scores.index)], width)?;
            if let Some(fault) = fault(&scores, negative && stream.scores.form() != crate::Form::Partial) {
                return Ok(bad(&stream.name, fault));
            }
            let finite = all_finite.get_or_insert_with(|| vec![true; scores.len()]);
            finite.iter_mut().zip(&scores).for_each(|(f, s)| *f &= s.is_finite());
        }
        let nothing = all_finite.is_some_and(|finite| !finite.contains(&true));
        Ok(bad(&root.name, if nothing { Fault::NothingInCommon } else { Fault::Unsound }))
    }
}

/// The streams under an expression, and whether each is subtracted. Within a rule nothing is known to be.
fn signs<B: Backend>(expr: &Expr<B>, negative: bool, out: &mut Vec<(usize, bool)>) {
    match expr {
        Expr::Stream(stream) => out.push((*stream, negative)),
        Expr::Sum(terms) => terms.iter().for_each(|(w, e)| signs(e, negative != (*w < 0.0), out)),
        Expr::Rule(_, parts) => parts.iter().for_each(|e| signs(e, false, out)),
    }
}
