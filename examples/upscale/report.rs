//! The output: texts while they are generated and a table at the end, or JSON lines.
use std::io::{self, Write, stdout};

use anyhow::Result;
use eft::Source;
use serde::Serialize;

use super::prompts::Item;

/// One text, as a line of the JSON output.
#[derive(Serialize)]
pub(crate) struct Record {
    /// The role of the model: `base`, `tuned`, and so on.
    pub(crate) name: String,
    /// The model's name, or the formula of the combination.
    pub(crate) model: String,
    pub(crate) backend: &'static str,
    pub(crate) prompt: String,
    pub(crate) text: String,
    /// The number of tokens, including the end-of-sequence token.
    pub(crate) tokens: usize,
    /// The time from the prompt to the last token.
    pub(crate) seconds: f64,
    pub(crate) tokens_per_second: f64,
    pub(crate) finish: &'static str,
    /// Whether the text is exactly the known answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) right: Option<bool>,
}

pub(crate) struct Report {
    json: bool,
    records: Vec<Record>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, records: Vec::new() }
    }

    /// Prints which model has which role.
    pub(crate) fn models<B: eft::Backend>(&self, columns: &[(&str, &Source<B>)]) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        columns.iter().try_for_each(|(name, source)| writeln!(stdout(), "{name:>11}: {source}"))
    }

    pub(crate) fn prompt(&self, item: &Item) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(stdout(), "\n» {}", item.shown)?;
        match &item.answer {
            Some(answer) => writeln!(stdout(), "{:>11}  {answer}", "(known)"),
            None => Ok(()),
        }
    }

    pub(crate) fn begin(&self, name: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { write!(stdout(), "{name:>11}  ") }
    }

    pub(crate) fn piece(&self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        write!(stdout(), "{}", text.replace('\n', "\n             "))?;
        stdout().flush()
    }

    pub(crate) fn text(&mut self, mut record: Record, item: &Item) -> Result<()> {
        record.right = item.answer.as_ref().map(|answer| record.text.trim() == answer.trim());
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string(&record)?)?;
        } else {
            let mark = record.right.map_or("", |right| if right { "  ✓" } else { "  ✗" });
            let Record { tokens, tokens_per_second, .. } = record;
            writeln!(stdout(), "{mark}  [{tokens} tokens, {tokens_per_second:.0}/s, {}]", record.finish)?;
        }
        self.records.push(record);
        Ok(())
    }

    /// Prints the totals, if there were several prompts.
    pub(crate) fn summary(&self) -> io::Result<()> {
        let mut names: Vec<&str> = self.records.iter().map(|record| &record.name[..]).collect();
        names.dedup();
        names.truncate(4);
        if self.json || self.records.len() <= names.len() {
            return Ok(());
        }
        writeln!(stdout(), "\n{:>11}  {:>8}  tokens/s", "", "right")?;
        for name in names {
            let of_name = || self.records.iter().filter(|record| record.name == name);
            let right = of_name().filter(|record| record.right == Some(true)).count();
            let asked = of_name().filter(|record| record.right.is_some()).count();
            let (tokens, seconds) =
                of_name().fold((0, 0.0), |(t, s), record| (t + record.tokens, s + record.seconds));
            let right = if asked == 0 { "–".into() } else { format!("{right} of {asked}") };
            writeln!(stdout(), "{name:>11}  {right:>8}  {:.0}", tokens as f64 / seconds)?;
        }
        Ok(())
    }
}
