//! The prompts that the models are given.
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result, bail};
use eft::{Message, Prompt};
use serde::Deserialize;

use super::args::Args;
use super::flags::check_question;
use super::zoo;

/// A prompt, and its answer if that is known.
pub(crate) struct Item {
    pub(crate) prompt: Prompt,
    /// The prompt as it is printed.
    pub(crate) shown: String,
    pub(crate) answer: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    prompt: Option<String>,
    question: Option<String>,
    messages: Option<Vec<Message>>,
    answer: Option<String>,
}

/// The number of the zoo's questions of each kind that are asked by default.
const SAMPLE: [(&str, usize); 2] = [("short", 6), ("long", 3)];

/// The prompts that the arguments name; by default test questions of the zoo.
pub(crate) fn items(args: &Args) -> Result<Vec<Item>> {
    let limit = args.limit.map(NonZeroUsize::get);
    match (&args.prompt, &args.file) {
        (Some(text), _) => Ok(vec![item(args, text.clone(), None)?]),
        (None, Some(file)) => of_file(args, file, limit.unwrap_or(usize::MAX)),
        (None, None) if args.models.large.is_some() => bail!("give a PROMPT or a --file"),
        (None, None) => {
            let of_kind =
                |(kind, sample): &(&str, usize)| of_file(args, &zoo::file(kind), limit.unwrap_or(*sample));
            Ok(SAMPLE.iter().map(of_kind).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        }
    }
}

fn of_file(args: &Args, file: &Path, limit: usize) -> Result<Vec<Item>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(limit);
    let items = lines.map(|(index, line)| match file.extension().is_some_and(|e| e == "jsonl") {
        true => parsed(args, line).with_context(|| format!("{}, line {}", file.display(), index + 1)),
        false => item(args, line.into(), None),
    });
    let items: Vec<_> = items.collect::<Result<_>>()?;
    if items.is_empty() {
        bail!("{} has no prompts", file.display());
    }
    Ok(items)
}

fn item(args: &Args, text: String, answer: Option<String>) -> Result<Item> {
    if args.raw {
        return Ok(Item { shown: text.clone(), prompt: Prompt::Text(text), answer });
    }
    check_question(&text)?;
    Ok(conversation(args, vec![Message::new("user", text)], answer))
}

fn conversation(args: &Args, mut messages: Vec<Message>, answer: Option<String>) -> Item {
    let shown = messages.last().map(|message| message.content.clone()).unwrap_or_default();
    if let Some(system) = &args.system {
        messages.insert(0, Message::new("system", system));
    }
    Item { prompt: Prompt::Chat(messages), shown, answer }
}

fn parsed(args: &Args, line: &str) -> Result<Item> {
    let Line { prompt, question, messages, answer } = serde_json::from_str(line)?;
    match (prompt.or(question), messages) {
        (Some(text), _) => item(args, text, answer),
        (None, Some(messages)) if !messages.is_empty() => Ok(conversation(args, messages, answer)),
        _ => bail!("the object has no `prompt`, `question` or `messages`"),
    }
}
