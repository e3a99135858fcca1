//! Scores of every position, and greedy texts, of a source.
use std::path::Path;

use eft_backend_candle::Candle;
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Evaluator, Prompt, Sampling, Source, TokenId};

pub(super) struct Texts {
    pub(super) prompts: Vec<Vec<TokenId>>,
    pub(super) greedy: Vec<Vec<TokenId>>,
    pub(super) long: Option<Vec<TokenId>>,
}

impl Texts {
    pub(super) fn read(file: &Path) -> Self {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let lists = |name: &str| serde_json::from_value(json[name].clone()).unwrap();
        let long = json.get("long").map(|ids| serde_json::from_value(ids.clone()).unwrap());
        Self { prompts: lists("prompts"), greedy: lists("greedy"), long }
    }
}

/// Returns the scores of every position of a prompt, one after another.
pub(super) fn scores(source: &Source<Candle>, prompt: &[TokenId]) -> Vec<f32> {
    // Only the first token is the prompt and the others are pushed, so that every position is scored.
    let mut evaluator = Evaluator::open(&[source], &[Prompt::from(&prompt[..1])]).unwrap();
    evaluator.push(&[prompt[1..].to_vec()]).unwrap();
    let scores = evaluator.eval_from(0, &[0]).unwrap();
    source.backend().download(&scores.positions(0), scores.width()).unwrap()
}

/// Returns the scores of the last position.
pub(super) fn last(source: &Source<Candle>, prompt: &[TokenId]) -> Vec<f32> {
    let mut evaluator = Evaluator::open(&[source], &[Prompt::from(prompt)]).unwrap();
    let scores = evaluator.eval_last(0).unwrap();
    source.backend().download(&scores.last().unwrap(), scores.width()).unwrap()
}

/// Returns the largest difference; infinite if an entry is not finite.
pub(super) fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let of =
        |(a, b): (&f32, &f32)| if a.is_finite() && b.is_finite() { (a - b).abs() } else { f32::INFINITY };
    a.iter().zip(b).map(of).fold(0.0, f32::max)
}

pub(super) fn greedy(source: &Source<Candle>, prompts: &[Vec<TokenId>]) -> Vec<Vec<TokenId>> {
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(32);
    let mut texts = vec![Vec::new(); prompts.len()];
    for event in source.generate_batch(prompts.to_vec(), decoding).unwrap() {
        if let Event::Token { row, token } = event.unwrap() {
            texts[row].push(token.id);
        }
    }
    texts
}
