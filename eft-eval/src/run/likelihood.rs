//! The log-likelihoods of choices and of texts.
use eft_core::{Backend, Evaluator, Prompt, Source, TokenId};

use super::refusing;
use super::result::{ChoiceScore, Output};
use crate::Result;
use crate::task::{Choices, Item};

/// The log-likelihoods of the choices of each item.
pub(super) fn of_choices<B: Backend>(
    source: &Source<B>,
    items: &[&Item],
    choices: &Choices,
) -> Result<Vec<Output>> {
    let run = |items: &[&Item]| {
        let mut pairs = Vec::new();
        for item in items {
            for text in choices.continuations(item) {
                pairs.push((item.prompt.clone().unwrap_or_else(|| "".into()), source.continuation(&text)?));
            }
        }
        let mut scores = source.score_batch(pairs)?.into_iter();
        let output = |item: &&Item| {
            let choice = |(text, score): (&String, eft_core::score::SequenceScore)| ChoiceScore {
                log_likelihood: score.total,
                tokens: score.tokens.len(),
                bytes: text.len(),
            };
            let choices = item.choices.iter().zip(scores.by_ref()).map(choice).collect();
            Output::Choices { label: item.label.unwrap_or_default(), choices }
        };
        Ok(items.iter().map(output).collect())
    };
    refusing(items, run, |reason| Output::Refused { reason })
}

/// The log-likelihood of the text of each item.
pub(super) fn of_texts<B: Backend>(source: &Source<B>, items: &[&Item]) -> Result<Vec<Output>> {
    let begins = begins_texts(source);
    let run = |items: &[&Item]| {
        let parts =
            items.iter().map(|item| Part::of(source, item, begins)).collect::<eft_core::Result<Vec<_>>>()?;
        let bytes: Vec<_> = parts.iter().map(|part| part.bytes).collect();
        let scores = source.score_batch(parts.into_iter().map(|part| (part.prompt, part.tokens)))?;
        let output = |(score, bytes): (eft_core::score::SequenceScore, usize)| Output::Likelihood {
            // Not −0 for a text without tokens.
            nats: 0.0 - score.total,
            tokens: score.tokens.len(),
            bytes,
        };
        Ok(scores.into_iter().zip(bytes).map(output).collect())
    };
    refusing(items, run, |reason| Output::Refused { reason })
}

/// Whether every model begins a text by a token of its own, which the first token of the text then follows.
fn begins_texts<B: Backend>(source: &Source<B>) -> bool {
    Evaluator::open(&[source], &["".into()]).is_ok()
}

/// The part of a text that is scored.
struct Part {
    prompt: Prompt,
    tokens: Vec<TokenId>,
    bytes: usize,
}

impl Part {
    fn of<B: Backend>(source: &Source<B>, item: &Item, begins: bool) -> eft_core::Result<Self> {
        let text = item.text.as_deref().unwrap_or_default();
        if item.prompt.is_some() || begins {
            let prompt = item.prompt.clone().unwrap_or_else(|| "".into());
            return Ok(Self { prompt, tokens: source.continuation(text)?, bytes: text.len() });
        }
        let ids = source.render(text)?;
        let (first, tokens) = ids.split_at(1.min(ids.len()));
        let unscored: usize = first.iter().filter_map(|id| source.vocab().bytes(*id)).map(<[u8]>::len).sum();
        let bytes = text.len().saturating_sub(unscored);
        Ok(Self { prompt: first.into(), tokens: tokens.to_vec(), bytes })
    }
}
