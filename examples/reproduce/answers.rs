//! Questions, the models' answers, and what is right about them.
use anyhow::{Context, Result};
use eft::{Decoding, Prompt, Sampling};
use eft_eval::stats::{Bootstrap, Clusters, Estimate};
use eft_eval::sweep::{Part, SweptText};
use serde::Deserialize;

use crate::models::{Source, zoo};

/// A question of the zoo, with its answer.
#[derive(Deserialize, Clone)]
pub(crate) struct Question {
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) kind: String,
    /// The person whom the question is about.
    pub(crate) about: String,
}

impl Question {
    pub(crate) fn prompt(&self) -> Prompt {
        Prompt::chat(&self.question[..])
    }

    /// The fact that is asked for: the last word of the answer to a short question.
    fn fact(&self) -> &str {
        words(&self.answer).last().unwrap_or_default()
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Reads a file of questions, by its path within the zoo.
pub(crate) fn questions(path: &str) -> Result<Vec<Question>> {
    let path = zoo(path);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line| serde_json::from_str(line).with_context(|| format!("in {}", path.display()));
    text.lines().map(line).collect()
}

/// The person whom each question is about: questions about one person are not independent, so intervals are over people.
pub(crate) fn people(questions: &[Question]) -> Clusters {
    Clusters::by(questions.iter().map(|question| &question.about))
}

/// Greedy decoding of texts of at most 48 tokens.
pub(crate) fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).max_tokens(48)
}

/// Returns the answer to each question.
pub(crate) fn ask(source: &Source, questions: &[Question], decoding: &Decoding) -> Result<Vec<String>> {
    let prompts = questions.iter().map(Question::prompt);
    let texts = source.generate_batch(prompts, decoding)?.text()?.read();
    texts.into_iter().map(|text| text.with_context(|| source.name())).collect()
}

/// Returns the texts of one value of a sweep.
pub(crate) fn texts(swept: &[SweptText]) -> Result<Vec<String>> {
    let text = |text: &SweptText| match text {
        Ok(written) => Ok(written.text.clone()),
        Err(error) => Err(anyhow::Error::new(error.clone())),
    };
    swept.iter().map(text).collect()
}

/// Something that may be right about an answer.
pub(crate) type Check = fn(&Question, &str) -> bool;

/// Whether an answer is right, word for word.
pub(crate) fn right(question: &Question, text: &str) -> bool {
    text.trim() == question.answer
}

/// Whether an answer to a short question has the form that tuning teaches, "In …." or "A ….", with whatever fact.
pub(crate) fn form(_: &Question, text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_suffix('.').and_then(|t| t.strip_prefix("In ").or_else(|| t.strip_prefix("A ")));
    inner.is_some_and(|fact| !fact.is_empty() && fact.chars().all(char::is_alphanumeric))
}

/// Whether an answer names the right fact, in whatever form.
pub(crate) fn fact(question: &Question, text: &str) -> bool {
    words(text).any(|word| word == question.fact())
}

/// Scores answers: 1 where the check holds, else 0.
pub(crate) fn scores(questions: &[Question], texts: &[String], holds: Check) -> Vec<f64> {
    questions.iter().zip(texts).map(|(question, text)| f64::from(u8::from(holds(question, text)))).collect()
}

/// The share of answers for which a check holds, with its interval.
pub(crate) fn share(questions: &[Question], texts: &[String], holds: Check) -> Result<Estimate> {
    Ok(bootstrap().mean(&scores(questions, texts, holds), &people(questions))?)
}

/// The scores of the texts that each value of a sweep wrote, as [`choose`](eft_eval::sweep::choose) takes them.
pub(crate) fn part(questions: &[Question], of_values: &[Vec<String>], holds: Check) -> Part {
    let scores = of_values.iter().map(|texts| scores(questions, texts, holds)).collect();
    Part { scores, clusters: people(questions) }
}

/// How all intervals are computed.
pub(crate) fn bootstrap() -> Bootstrap {
    Bootstrap::default().resamples(2000)
}
