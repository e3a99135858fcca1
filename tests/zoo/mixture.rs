//! Learned mixtures of the adapters `terse` and `full`, which answer the same questions in bare words or in sentences.
use eft::combine::{self, MixtureFeatures, MixtureWeights};
use eft::{Backend, Prompt, Source, TokenId};
use eft_eval::mixture::{Fit, Observations};
use eft_eval::stats::{Bootstrap, Clusters};
use serde::Deserialize;

use crate::zoo;

#[derive(Deserialize)]
struct Question {
    question: String,
    answer: String,
    about: String,
}

/// A prompt, the tokens of its answer, and the person it is about.
type Text = (Prompt, Vec<TokenId>, String);

/// The short questions of a part. Every second one is answered in a sentence, as `full` was tuned to do; the others in
/// bare words, as `terse` was.
fn texts<B: Backend>(source: &Source<B>, part: &str) -> Vec<Text> {
    let file = std::fs::read_to_string(zoo(&format!("questions/{part}-short.jsonl"))).unwrap();
    let questions = file.lines().map(|line| serde_json::from_str::<Question>(line).unwrap());
    let text = |(index, Question { question, answer, about }): (usize, Question)| {
        let fact = answer.trim_end_matches('.').split_once(' ').unwrap().1;
        let sentence = match &question {
            q if q.ends_with(" live?") => format!("lives in {fact}"),
            q if q.contains("trade") || q.contains("for a living") => format!("works as a {fact}"),
            q if q.contains("animal") || q.contains("pet") => format!("keeps a {fact}"),
            _ => format!("plays the {fact}"),
        };
        let answer = if index % 2 == 0 { answer } else { format!("{about} {sentence}.") };
        let mut tokens = source.continuation(&format!(" {answer}")).unwrap();
        tokens.push(0);
        (Prompt::chat(question), tokens, about)
    };
    questions.enumerate().map(text).collect()
}

/// Weights that are learned from 100 texts explain other texts better than the best constant weights, and a source with
/// them gives the texts the probabilities that the fit predicts.
pub(crate) fn learned<B: Backend>(terse: &Source<B>, full: &Source<B>) {
    let features = MixtureFeatures::entropies().with_top(1);
    let observed = |texts: &[Text]| {
        let pairs = texts.iter().map(|(prompt, tokens, _)| (prompt.clone(), tokens.clone()));
        Observations::of([terse, full], features, pairs).unwrap()
    };
    let (fitted, held_out) = (texts(terse, "validation"), texts(terse, "test"));
    let (seen, unseen) = (observed(&fitted), observed(&held_out));
    assert_eq!((fitted.len(), held_out.len()), (100, 260));

    let people = Clusters::by(unseen.tokens().iter().map(|token| &held_out[token.text].2));
    let fit = |name: &str, fit: Fit| -> MixtureWeights {
        let start = std::time::Instant::now();
        let weights = fit.fit(&seen).unwrap();
        let perplexity = unseen.perplexity(&weights).unwrap();
        println!("{name}: perplexity {perplexity:.4}, fitted in {:.2} s", start.elapsed().as_secs_f64());
        weights
    };
    let constant = fit("constant", Fit::constant());
    let surprisals = |weights: &MixtureWeights| unseen.surprisals(weights).unwrap();
    // No constant is better on the texts themselves, so that the comparison is with the best of them.
    let best = Fit::constant().fit(&unseen).unwrap();
    println!("best constant of the held-out texts: perplexity {:.4}", unseen.perplexity(&best).unwrap());
    for (name, settings) in [("logistic regression", Fit::logistic()), ("perceptron", Fit::perceptron(8))] {
        let weights = fit(name, settings);
        for (against, constant) in [("constant", &constant), ("best constant", &best)] {
            let difference = Bootstrap::default()
                .difference(&surprisals(constant), &surprisals(&weights), &people)
                .unwrap();
            println!("{against} − {name}: {difference:.4} nats a token");
            assert!(difference.interval.low > 0.0, "{name}: {difference}");
        }
        let mixed = combine::learned_mixture(weights.clone(), [terse, full]).unwrap();
        let some = held_out.iter().take(8).map(|(prompt, tokens, _)| (prompt.clone(), tokens.clone()));
        let scored = mixed.score_batch(some).unwrap();
        let scored: Vec<_> = scored.iter().flat_map(|text| &text.tokens).collect();
        let differs = |(a, b): (&&f32, &f64)| (f64::from(**a) + b).abs() > 2e-3;
        assert!(!scored.iter().zip(&surprisals(&weights)).any(differs));
    }
}
