//! The log-probabilities of tokens by each term of a root.
use std::ops::Range;

use super::Evaluator;
use super::plan::Leaves;
use crate::backend::Backend;
use crate::check;
use crate::{Prompt, Result, Source, TokenId};

/// The log-probabilities that one term of a root, as the user wrote it, gives to some tokens.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TermLogProbs {
    /// The name of the term.
    pub name: String,
    /// Its weight in the sum. For a part of a rule: the part's [weight](crate::Rule::weight) by the rule, if it has
    /// one.
    pub weight: Option<f32>,
    /// For each requested position, the natural log-probabilities of the requested tokens, normalised over the tokens
    /// that all models of the root share. `None` if the term cancels and is not run: see
    /// [`OpenOptions::every_term`](super::OpenOptions::every_term).
    pub log_probs: Option<Vec<Vec<f32>>>,
}

impl<B: Backend> Evaluator<B> {
    /// Returns the log-probabilities that each term of a root gives to tokens. Runs only the models that lack scores.
    ///
    /// `at` has a range of positions for each row. `tokens` has a list for each position of each row, in this order.
    ///
    /// ```
    /// use eft_core::{from_fn, Evaluator, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let base = from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 0.0])).named("base");
    /// let tuned = from_fn(Host, vocab, |_| Ok(vec![0.0, f32::NEG_INFINITY])).named("tuned");
    /// let mut evaluator = Evaluator::open(&[&(&base + 0.5 * &tuned)], &[vec![0].into()])?;
    /// let terms = evaluator.term_log_probs(0, &[0..1], &[vec![0]])?;
    /// assert_eq!((&terms[1].name[..], terms[1].weight), ("tuned", Some(0.5)));
    /// assert_eq!(terms[1].log_probs, Some(vec![vec![0.0]])); // it is certain of token 0
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Shape`](crate::Error::Shape) unless there is a range for each row and a list for each position.
    /// * [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange) if a token is not shared by all models of the root.
    /// * Any other error of [`eval`](Self::eval), such as a root index out of range, a full context, or a failure of a
    ///   model.
    pub fn term_log_probs(
        &mut self,
        root: usize,
        at: &[Range<usize>],
        tokens: &[Vec<TokenId>],
    ) -> Result<Vec<TermLogProbs>> {
        self.check_positions(at)?;
        check::per_row("lists of tokens", at.iter().map(Range::len).sum(), tokens.len())?;
        let of_root = self.root(root)?;
        let rows = at.iter().enumerate().flat_map(|(row, at)| at.clone().map(move |_| row));
        for (row, tokens) in rows.zip(tokens) {
            check::within(&of_root.name, row, tokens, of_root.common.width)?;
        }
        let mut models: Vec<_> = of_root.written.iter().flat_map(|w| w.expr.models()).collect();
        models.retain(|m| *m < self.models.len());
        self.run(&models, at)?;

        let root = self.root(root)?;
        let width = root.common.width;
        root.written
            .iter()
            .map(|term| {
                let runs = term.expr.models().iter().all(|m| *m < self.models.len());
                let log_probs = runs.then(|| {
                    let value = self.value(&term.expr, at, &root.common)?;
                    self.backend.log_probs(&value.rows(), tokens, width)
                });
                Ok(TermLogProbs {
                    name: term.name.clone(),
                    weight: term.weight,
                    log_probs: log_probs.transpose()?,
                })
            })
            .collect()
    }
}

impl<B: Backend> Source<B> {
    /// Returns whether models of the source need not run after this prompt, since the weights of their terms come to zero.
    /// An [attribution](crate::decode::Request::attribution) runs them all the same. Runs no model.
    ///
    /// ```
    /// use eft_core::{from_fn, Host, Vocab};
    ///
    /// let vocab = Vocab::new("ab", ["a", "b"])?;
    /// let large = from_fn(Host, vocab.clone(), |_| Ok(vec![1.0, 0.0]));
    /// let tuned = from_fn(Host, vocab, |_| Ok(vec![0.0, 3.0]));
    /// assert!((&large + 0.0 * &tuned).has_cancelled_terms([0])?);
    /// assert!(!(&large + 0.5 * &tuned).has_cancelled_terms([0])?);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::CannotRender`](crate::Error::CannotRender) or [`Error::EmptyPrompt`](crate::Error::EmptyPrompt) if a term
    ///   cannot turn the prompt into tokens.
    /// * [`Error::NothingLeft`](crate::Error::NothingLeft) if all terms cancel.
    /// * [`Error::InvalidWeight`](crate::Error::InvalidWeight) or [`Error::TooComplex`](crate::Error::TooComplex) if the
    ///   combination is not valid.
    /// * Any error of a prompt transform.
    pub fn has_cancelled_terms(&self, prompt: impl Into<Prompt>) -> Result<bool> {
        Ok(!Leaves::new(std::slice::from_ref(self), &[prompt.into()])?.runs_every_term())
    }
}
