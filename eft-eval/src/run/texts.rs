//! Generating texts and grading them.
use std::sync::Arc;

use eft_core::decode::{FinishReason, Joint, Request, TextEvent, Variant};
use eft_core::{Backend, Decoding, Error as CoreError, Source};

use super::result::Output;
use super::{is_of_item, refusing};
use crate::hash::seed_of;
use crate::task::{Answer, Grader, Item};
use crate::{Error, Result};

/// A text that was generated, or the reason why none was.
enum Generated {
    Text { text: String, tokens: usize, finish: FinishReason },
    Refused(String),
}

/// The outputs of each source.
pub(super) fn outputs<B: Backend>(
    sources: &[&Source<B>],
    items: &[&Item],
    grader: &dyn Grader,
    decoding: &Decoding,
    until: &[String],
) -> Result<Vec<Vec<Output>>> {
    let run = |items: &[&Item]| generate(sources, items, decoding, until);
    let refuse = |reason: String| sources.iter().map(|_| Generated::Refused(reason.clone())).collect();
    let mut of_sources: Vec<_> = sources.iter().map(|_| Vec::new()).collect();
    for of_item in refusing(items, run, refuse)? {
        of_sources.iter_mut().zip(of_item).for_each(|(of_source, generated)| of_source.push(generated));
    }
    of_sources.into_iter().map(|generated| graded(items, generated, grader)).collect()
}

fn graded(items: &[&Item], generated: Vec<Generated>, grader: &dyn Grader) -> Result<Vec<Output>> {
    let answers: Vec<_> = items.iter().zip(&generated).filter_map(|(item, g)| g.answer(item)).collect();
    let grades = if answers.is_empty() { Vec::new() } else { grader.grade(&answers)? };
    if grades.len() != answers.len() {
        let source = format!("it returned {} grades for {} answers", grades.len(), answers.len()).into();
        return Err(Error::Grader { grader: grader.name(), source });
    }
    let mut grades = grades.into_iter();
    let output = |generated| match generated {
        Generated::Refused(reason) => Some(Output::Refused { reason }),
        Generated::Text { text, tokens, finish } => {
            let grade = grades.next()?;
            Some(Output::Text { score: grade.score, text, extracted: grade.extracted, tokens, finish })
        }
    };
    Ok(generated.into_iter().filter_map(output).collect())
}

impl Generated {
    fn answer<'a>(&'a self, item: &'a Item) -> Option<Answer<'a>> {
        match self {
            Self::Refused(_) => None,
            Self::Text { text, finish, .. } => {
                let ended = matches!(finish, FinishReason::EndOfSequence(_) | FinishReason::Ended);
                Some(Answer { item, text, ended })
            }
        }
    }
}

/// Generates for each item the text of each source.
fn generate<B: Backend>(
    sources: &[&Source<B>],
    items: &[&Item],
    decoding: &Decoding,
    until: &[String],
) -> eft_core::Result<Vec<Vec<Generated>>> {
    let requests = items.iter().filter_map(|item| {
        let request = Request::new(item.prompt.as_ref()?).id(seed_of(&item.id));
        Some(until.iter().fold(request, |request, stop| request.until(stop)))
    });
    let rows = sources.len() * items.len();
    let generated = match sources {
        [source] => read(source.generate_batch(requests, decoding)?.text()?, rows)?,
        _ => {
            let variants = sources.iter().map(|source| Variant::new((*source).clone(), decoding));
            read(Joint::open(variants, requests)?.text()?, rows)?
        }
    };
    // The rows of a source come one after another.
    let mut of_items: Vec<_> = items.iter().map(|_| Vec::new()).collect();
    for (row, generated) in generated.into_iter().enumerate() {
        of_items[row % items.len()].push(generated);
    }
    Ok(of_items)
}

/// Whether the models cannot take a prompt, however often they are asked.
fn refuses_prompt(error: &CoreError) -> bool {
    is_of_item(error) || matches!(error, CoreError::CannotRender { .. })
}

/// Reads the texts of all rows to their ends.
fn read(
    events: impl Iterator<Item = eft_core::Result<TextEvent>>,
    rows: usize,
) -> eft_core::Result<Vec<Generated>> {
    let mut texts = vec![(String::new(), 0); rows];
    let mut ends: Vec<_> = texts.iter().map(|_| None).collect();
    for event in events {
        match event? {
            TextEvent::Piece { row, piece } => {
                let (text, tokens) = &mut texts[row];
                text.push_str(&piece.text);
                *tokens += piece.tokens.len();
            }
            TextEvent::Finished { row, finished } => {
                texts[row].1 += finished.tail.len();
                ends[row] = Some(Ok(finished.reason));
            }
            TextEvent::Failed { row, error } if refuses_prompt(&error) => ends[row] = Some(Err(error)),
            // A model failed at one row: that is no property of the item, so it must not be recorded as its result.
            TextEvent::Failed { error, .. } => {
                return Err(
                    Arc::try_unwrap(error).unwrap_or_else(|shared| CoreError::source("a row", shared))
                );
            }
        }
    }
    let generated = texts.into_iter().zip(ends).map(|((text, tokens), end)| match end {
        Some(Ok(finish)) => Generated::Text { text, tokens, finish },
        Some(Err(error)) => Generated::Refused(eft_core::error::with_sources(&*error).to_string()),
        None => Generated::Refused("its text has no end".into()),
    });
    Ok(generated.collect())
}
