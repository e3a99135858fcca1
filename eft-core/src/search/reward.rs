use std::sync::Arc;

use super::{Continuation, Guide, Judge};
use crate::backend::Backend;
use crate::check;
use crate::decode::FinishReason;
use crate::evaluator::Evaluator;
use crate::score::score_pushed;
use crate::source::Node;
use crate::{Error, Prompt, Result, Source, TokenId, Vocab};

/// The guide of weak-to-strong search: `log π_tuned(y | x) − log π_untuned(y | x)`, what tuning has made of a small
/// model's taste. Zhou et al. 2024, arXiv 2405.19262.
///
/// Over the base's own tokens it judges those. Over others it judges the text: it is put into the tuned model's
/// tokens ([`Renderer::continuation`](crate::Renderer::continuation)) behind the prompt as each of the two models
/// renders it. Every token is scored once, but for those at the end of a chunk whose text goes on within them.
#[derive(Debug, Clone)]
pub struct ImplicitReward<B: Backend> {
    tuned: Source<B>,
    untuned: Source<B>,
}

impl<B: Backend> ImplicitReward<B> {
    /// The reward of a tuned model over the same model untuned.
    pub fn new(tuned: &Source<B>, untuned: &Source<B>) -> Self {
        Self { tuned: tuned.clone(), untuned: untuned.clone() }
    }
}

impl<B: Backend> Guide for ImplicitReward<B> {
    fn open(&self, prompt: &Prompt, vocab: Option<&Arc<Vocab>>) -> Result<Box<dyn Judge + '_>> {
        let evaluator = Evaluator::open(&[&self.tuned, &self.untuned], std::slice::from_ref(prompt))?;
        let (own, width) = (self.tuned.vocab(), evaluator.width(0)?.min(evaluator.width(1)?));
        own.relation(self.untuned.vocab())?;
        let reads = match vocab {
            Some(vocab) if vocab.relation(own).is_ok() && vocab.real() <= width => Reads::Tokens,
            Some(vocab) if vocab.is_anonymous() => {
                let what = format!(
                    "judging the text of `{}`, which does not tell what its tokens are",
                    vocab.name()
                );
                return Err(Error::Unsupported { who: self.tuned.name(), what });
            }
            // Ids mean something else here, unless the guide has a prompt of its own.
            _ if matches!(prompt, Prompt::Tokens(_)) && !matches!(self.tuned.node(), Node::Under(..)) => {
                let what = "a prompt in the token ids of another vocabulary";
                return Err(Error::Unsupported { who: self.tuned.name(), what: what.into() });
            }
            Some(_) | None => Reads::Text(&self.tuned),
        };
        // The last token is scored and need not be read.
        let most = evaluator.room()[0].saturating_add(1);
        Ok(Box::new(Rewarded { evaluator, reads, rows: vec![Row::default()], most }))
    }
}

/// What is judged.
enum Reads<'a, B: Backend> {
    /// The base's own tokens.
    Tokens,
    /// Its text, in the tokens of this model.
    Text(&'a Source<B>),
}

struct Rewarded<'a, B: Backend> {
    /// Roots: tuned and untuned.
    evaluator: Evaluator<B>,
    reads: Reads<'a, B>,
    rows: Vec<Row>,
    /// How many tokens there is room for behind the prompt.
    most: usize,
}

/// The reward of each token that was pushed.
#[derive(Debug, Clone, Default)]
struct Row {
    rewards: Vec<f64>,
}

impl<B: Backend> Rewarded<'_, B> {
    /// A continuation in the tokens that are judged.
    fn tokens(&self, continuation: &Continuation) -> Result<Vec<TokenId>> {
        let Reads::Text(source) = self.reads else { return Ok(continuation.tokens.clone()) };
        // A chunk may end within a character; the rest of it comes with the next.
        let text = match std::str::from_utf8(&continuation.text) {
            Ok(text) => text.to_owned(),
            Err(error) if error.error_len().is_none() && continuation.end.is_none() => {
                String::from_utf8_lossy(&continuation.text[..error.valid_up_to()]).into_owned()
            }
            Err(_) => continuation.to_text(),
        };
        let mut tokens = source.continuation(&text)?;
        if matches!(continuation.end, Some(FinishReason::EndOfSequence(_) | FinishReason::Ended)) {
            // Which id ends a text is each model's own affair.
            tokens.extend(source.vocab().eos().first());
        }
        Ok(tokens)
    }
}

impl<B: Backend> Judge for Rewarded<'_, B> {
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<f64>> {
        check::per_row("continuations to score", self.rows.len(), rows.len())?;
        let (mut drop, mut fresh) = (Vec::new(), Vec::new());
        for (row, continuation) in rows.iter().enumerate() {
            let (old, tokens) = (self.evaluator.pushed(row), self.tokens(continuation)?);
            // Text that goes on may be cut into other tokens than it was.
            let kept = old.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
            drop.push(old.len() - kept);
            fresh.push(tokens[kept..].to_vec());
        }
        if drop.iter().any(|drop| *drop > 0) {
            self.evaluator.rollback(&drop)?;
        }
        let log_probs = score_pushed(&mut self.evaluator, 2, &fresh)?;
        for (row, state) in self.rows.iter_mut().enumerate() {
            state.rewards.truncate(state.rewards.len() - drop[row]);
            let (tuned, untuned) = (&log_probs[0][row], &log_probs[1][row]);
            state.rewards.extend(tuned.iter().zip(untuned).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        }
        Ok(self.rows.iter().map(|row| row.rewards.iter().sum()).collect())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.evaluator.select(rows)?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }

    fn room(&self) -> usize {
        match self.reads {
            Reads::Tokens => {
                self.most - self.rows.iter().map(|row| row.rewards.len()).max().unwrap_or(0).min(self.most)
            }
            Reads::Text(_) => usize::MAX,
        }
    }
}
