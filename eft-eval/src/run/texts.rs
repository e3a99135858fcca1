//! Generating texts and grading them.
use eft_core::decode::{FinishReason, Request, TextEvent};
use eft_core::{Backend, Decoding, Source};

use super::refusing;
use super::result::Output;
use crate::hash::seed_of;
use crate::task::{Answer, Grader, Item};
use crate::{Error, Result};

/// A text that was generated, or the reason why none was.
enum Generated {
    Text { text: String, tokens: usize, finish: FinishReason },
    Refused(String),
}

pub(super) fn outputs<B: Backend>(
    source: &Source<B>,
    items: &[&Item],
    grader: &dyn Grader,
    decoding: &Decoding,
    until: &[String],
) -> Result<Vec<Output>> {
    let run = |items: &[&Item]| generate(source, items, decoding, until);
    let generated = refusing(items, run, Generated::Refused)?;
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

/// Generates a text for each item.
fn generate<B: Backend>(
    source: &Source<B>,
    items: &[&Item],
    decoding: &Decoding,
    until: &[String],
) -> eft_core::Result<Vec<Generated>> {
    let requests = items.iter().filter_map(|item| {
        let request = Request::new(item.prompt.as_ref()?).id(seed_of(&item.id));
        Some(until.iter().fold(request, |request, stop| request.until(stop)))
    });
    let mut rows: Vec<_> = items.iter().map(|_| (String::new(), 0)).collect();
    let mut ends: Vec<_> = items.iter().map(|_| None).collect();
    for event in source.generate_batch(requests, decoding)?.text()? {
        match event? {
            TextEvent::Piece { row, piece } => {
                let (text, tokens) = &mut rows[row];
                text.push_str(&piece.text);
                *tokens += piece.tokens.len();
            }
            TextEvent::Finished { row, finished } => {
                rows[row].1 += finished.tail.len();
                ends[row] = Some(Ok(finished.reason));
            }
            TextEvent::Failed { row, error } => ends[row] = Some(Err(error)),
        }
    }
    let generated = rows.into_iter().zip(ends).map(|((text, tokens), end)| match end {
        Some(Ok(finish)) => Generated::Text { text, tokens, finish },
        Some(Err(error)) => Generated::Refused(eft_core::error::with_sources(&*error).to_string()),
        None => Generated::Refused("its text has no end".into()),
    });
    Ok(generated.collect())
}
