//! Chunk beam search, compared with plain implementations of it and of its special cases; and the scores of given
//! texts.

mod failures;
mod held;
mod paper;
mod score;
mod text;

use crate::common::*;
use eft_core::decode::{Event, FinishReason};
use eft_core::score::implicit_reward;
use eft_core::{Decoding, Host, Source, TokenId};

fn models() -> [Source<Host>; 3] {
    [model("large", 1), model("tuned", 2), model("untuned", 3)]
}

fn reward(tuned: &Source<Host>, untuned: &Source<Host>, prompt: &[TokenId], tokens: &[TokenId]) -> f64 {
    implicit_reward(tuned, untuned, prompt, tokens, 1.0).unwrap().total
}

/// Generates a batch of texts. Returns each with the tokens that ended it and the reason why it ended.
fn texts(
    base: &Source<Host>,
    prompts: Vec<Vec<TokenId>>,
    decoding: &Decoding,
) -> Vec<(Vec<TokenId>, FinishReason)> {
    let mut texts = vec![(Vec::new(), FinishReason::MaxTokens); prompts.len()];
    for event in base.generate_batch(prompts, decoding).unwrap() {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].0.push(token.id),
            Event::Finished { row, finished } => {
                texts[row].0.extend(finished.tail.iter().map(|t| t.id));
                texts[row].1 = finished.reason;
            }
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    texts
}
