//! What is shown: texts as they come and a table at the end, or JSON lines.
use std::io::{Write, stdout};

use anyhow::Result;
use eft::Source;
use serde::Serialize;

use super::prompts::Item;

/// One text. A line of the JSON output.
#[derive(Serialize)]
pub(crate) struct Record {
    /// The part the model plays.
    pub(crate) name: String,
    /// The model, or the combination spelled out.
    pub(crate) model: String,
    pub(crate) backend: &'static str,
    pub(crate) prompt: String,
    pub(crate) text: String,
    /// The end-of-sequence token counts.
    pub(crate) tokens: usize,
    /// From the prompt to the last token.
    pub(crate) seconds: f64,
    pub(crate) tokens_per_second: f64,
    pub(crate) finish: &'static str,
    /// Whether it is the known answer, to the letter.
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

    /// What plays which part.
    pub(crate) fn models<B: eft::Backend>(&self, columns: &[(&str, &Source<B>)]) {
        if !self.json {
            columns.iter().for_each(|(name, source)| println!("{name:>11}: {source}"));
        }
    }

    pub(crate) fn prompt(&self, item: &Item) {
        if !self.json {
            println!("\n» {}", item.shown);
            if let Some(answer) = &item.answer {
                println!("{:>11}  {answer}", "(known)");
            }
        }
    }

    pub(crate) fn begin(&self, name: &str) {
        if !self.json {
            print!("{name:>11}  ");
        }
    }

    pub(crate) fn piece(&self, text: &str) {
        if !self.json {
            print!("{}", text.replace('\n', "\n             "));
            // Nothing worse than a late piece comes of a terminal that is gone.
            let _ = stdout().flush();
        }
    }

    pub(crate) fn text(&mut self, mut record: Record, item: &Item) -> Result<()> {
        record.right = item.answer.as_ref().map(|answer| record.text.trim() == answer.trim());
        if self.json {
            println!("{}", serde_json::to_string(&record)?);
        } else {
            let mark = record.right.map_or("", |right| if right { "  ✓" } else { "  ✗" });
            let Record { tokens, tokens_per_second, .. } = record;
            println!("{mark}  [{tokens} tokens, {tokens_per_second:.0}/s, {}]", record.finish);
        }
        self.records.push(record);
        Ok(())
    }

    /// Over all prompts, where there were several.
    pub(crate) fn summary(&self) -> Result<()> {
        let mut names: Vec<&str> = self.records.iter().map(|record| &record.name[..]).collect();
        names.dedup();
        names.truncate(4);
        if self.json || self.records.len() <= names.len() {
            return Ok(());
        }
        println!("\n{:>11}  {:>8}  tokens/s", "", "right");
        for name in names {
            let of_name = || self.records.iter().filter(|record| record.name == name);
            let right = of_name().filter(|record| record.right == Some(true)).count();
            let asked = of_name().filter(|record| record.right.is_some()).count();
            let (tokens, seconds) =
                of_name().fold((0, 0.0), |(t, s), record| (t + record.tokens, s + record.seconds));
            let right = if asked == 0 { "–".into() } else { format!("{right} of {asked}") };
            println!("{name:>11}  {right:>8}  {:.0}", tokens as f64 / seconds);
        }
        Ok(())
    }
}
