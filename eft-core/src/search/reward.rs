use std::sync::Arc;

use super::{Continuation, Guide, GuideSession};
use crate::backend::Backend;
use crate::check;
use crate::decode::FinishReason;
use crate::evaluator::Evaluator;
use crate::score::score_pushed;
use crate::source::Node;
use crate::{Error, Prompt, Result, Source, TokenId, Vocab};

/// The guide of weak-to-strong search: scores a text `y` for a prompt `x` by
/// `log π_tuned(y | x) − log π_untuned(y | x)`, in nats. Zhou et al. 2024, arXiv 2405.19262.
///
/// If the guide's models share the base's vocabulary, they score its tokens. If not, they score its text: it is
/// tokenized for the tuned model ([`Renderer::continuation`](crate::Renderer::continuation)) and follows the prompt as
/// each of the two models renders it. Every token is scored once, except those at the end of a chunk that are tokenized
/// differently when the text continues.
///
/// ```
/// use eft_core::search::{ChunkBeamSearch, ImplicitReward};
/// use eft_core::{from_fn, Host, Vocab};
///
/// let model = |logits: [f32; 2]| {
///     Ok::<_, eft_core::Error>(from_fn(Host, Vocab::new("ab", ["a", "b"])?, move |_| Ok(logits.to_vec())))
/// };
/// let (large, tuned, untuned) = (model([0.0, 0.0])?, model([0.0, 2.0])?, model([0.0, 0.0])?);
/// let reward = ImplicitReward::new(&tuned, &untuned);
/// let result = ChunkBeamSearch::new(&large, reward).successors(16).chunk(1).max_tokens(4).run([0])?;
/// assert_eq!(result.best().continuation.to_text(), "bbbb");
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImplicitReward<B: Backend> {
    tuned: Source<B>,
    untuned: Source<B>,
}

impl<B: Backend> ImplicitReward<B> {
    /// Creates the reward of a tuned model relative to the same model without tuning.
    pub fn new(tuned: &Source<B>, untuned: &Source<B>) -> Self {
        Self { tuned: tuned.clone(), untuned: untuned.clone() }
    }
}

impl<B: Backend> Guide for ImplicitReward<B> {
    fn open(&self, prompt: &Prompt, vocab: Option<&Arc<Vocab>>) -> Result<Box<dyn GuideSession + '_>> {
        let evaluator = Evaluator::open(&[&self.tuned, &self.untuned], std::slice::from_ref(prompt))?;
        let (own, width) = (self.tuned.vocab(), evaluator.width(0)?.min(evaluator.width(1)?));
        own.relation(self.untuned.vocab())?;
        let input = match vocab {
            Some(vocab) if vocab.relation(own).is_ok() && vocab.real() <= width => Input::Tokens,
            Some(vocab) if vocab.is_anonymous() => {
                let what = format!(
                    "scoring the texts of `{}`: its vocabulary does not know the text of its tokens",
                    vocab.name()
                );
                return Err(Error::Unsupported { who: self.tuned.name(), what });
            }
            // The ids of the prompt mean something else to the guide, unless it was given a separate prompt.
            _ if matches!(prompt, Prompt::Tokens(_)) && !matches!(self.tuned.node(), Node::Under(..)) => {
                let what = "a prompt in the token ids of another vocabulary";
                return Err(Error::Unsupported { who: self.tuned.name(), what: what.into() });
            }
            Some(_) | None => Input::Text(&self.tuned),
        };
        // The last token is scored but need not be read.
        let capacity = evaluator.room()[0].saturating_add(1);
        Ok(Box::new(RewardSession { evaluator, input, rewards: vec![Vec::new()], capacity }))
    }
}

/// The input of the guide's models.
enum Input<'a, B: Backend> {
    /// The base's tokens.
    Tokens,
    /// The base's text, as tokens of this model.
    Text(&'a Source<B>),
}

struct RewardSession<'a, B: Backend> {
    /// Its roots are the tuned model and the untuned one.
    evaluator: Evaluator<B>,
    input: Input<'a, B>,
    /// For each row, the rewards of the first tokens that were pushed: of all of them, unless a call has failed.
    rewards: Vec<Vec<f64>>,
    /// The most tokens after the prompt that the models can score.
    capacity: usize,
}

impl<B: Backend> RewardSession<'_, B> {
    /// Returns a continuation in the tokens that the guide's models read.
    fn tokens(&self, continuation: &Continuation) -> Result<Vec<TokenId>> {
        let Input::Text(source) = self.input else { return Ok(continuation.tokens.clone()) };
        // A chunk may end within a character, whose other bytes come with the next chunk.
        let text = match std::str::from_utf8(&continuation.text) {
            Ok(text) => text.to_owned(),
            Err(error) if error.error_len().is_none() && continuation.end.is_none() => {
                String::from_utf8_lossy(&continuation.text[..error.valid_up_to()]).into_owned()
            }
            Err(_) => continuation.to_text(),
        };
        let mut tokens = source.continuation(&text)?;
        if matches!(continuation.end, Some(FinishReason::EndOfSequence(_) | FinishReason::Ended)) {
            // The base's end-of-sequence token is replaced by the guide's own.
            tokens.extend(source.vocab().eos().first());
        }
        Ok(tokens)
    }
}

impl<B: Backend> GuideSession for RewardSession<'_, B> {
    fn score(&mut self, rows: &[&Continuation]) -> Result<Vec<Option<f64>>> {
        check::per_row("continuations to score", self.rewards.len(), rows.len())?;
        let (mut drop, mut fresh, mut fit) = (Vec::new(), Vec::new(), Vec::new());
        for (row, continuation) in rows.iter().enumerate() {
            let (pushed, mut tokens) = (self.evaluator.pushed(row), self.tokens(continuation)?);
            // A call that failed may have pushed tokens whose rewards are not known. They are dropped.
            let known = &pushed[..self.rewards[row].len()];
            fit.push(tokens.len() <= self.capacity);
            if tokens.len() > self.capacity {
                tokens = known.to_vec();
            }
            // The end of a text may be tokenized differently when the text continues.
            let kept = known.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
            drop.push(pushed.len() - kept);
            fresh.push(tokens.split_off(kept));
        }
        if drop.iter().any(|drop| *drop > 0) {
            self.evaluator.rollback(&drop)?;
        }
        for (row, rewards) in self.rewards.iter_mut().enumerate() {
            rewards.truncate(self.evaluator.pushed(row).len());
        }
        let log_probs = score_pushed(&mut self.evaluator, 2, &fresh)?;
        for (row, rewards) in self.rewards.iter_mut().enumerate() {
            let (tuned, untuned) = (&log_probs[0][row], &log_probs[1][row]);
            rewards.extend(tuned.iter().zip(untuned).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        }
        let totals = self.rewards.iter().map(|rewards| rewards.iter().sum());
        Ok(fit.into_iter().zip(totals).map(|(fits, total)| fits.then_some(total)).collect())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        self.evaluator.select(rows)?;
        self.rewards = rows.iter().map(|row| self.rewards[*row].clone()).collect();
        Ok(())
    }

    fn room(&self) -> usize {
        match self.input {
            Input::Tokens => {
                let longest = self.rewards.iter().map(Vec::len).max().unwrap_or(0);
                self.capacity.saturating_sub(longest)
            }
            Input::Text(_) => usize::MAX,
        }
    }
}
