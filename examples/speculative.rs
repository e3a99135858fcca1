//! Speculative decoding: the tuned small model drafts blocks of tokens, and `large + (tuned − untuned)` verifies each
//! block in one pass. With earlier texts of the same kind, drafts are also looked up in these, without a model.
//!
//! ```sh
//! cargo run --release --example speculative                # the zoo's models write the first 128 tokens of portraits
//! cargo run --release --example speculative -- --texts 65  # more of them
//! cargo run --release --example speculative -- --large MODEL --small MODEL --tuned MODEL "How do magnets work?"
//! cargo run --release --example speculative -- --draft-weight-type q4_0 …   # a smaller copy of the tuned model drafts, too
//! ```
#[macro_use]
#[path = "common/exit.rs"]
mod exit;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/models.rs"]
mod models;
#[path = "common/settings.rs"]
mod settings;
#[path = "common/zoo.rs"]
mod zoo;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use eft::candle::WeightType;
use eft::decode::{Detokenizer, Generation};
use eft::speculate::{Lookup, Speculative};
use eft::{Backend, Prompt, TokenId};

use flags::{DecodingFlags, ModelFlags, check_question};
use models::{Models, Run};
use settings::TextFlags;

/// Generates texts plainly, and drafted in several ways, which all give the same texts.
#[derive(Parser)]
struct Args {
    /// The question to answer; by default, the zoo's models write portraits of people
    prompt: Option<String>,
    /// How many of the zoo's portraits to write
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=65), conflicts_with = "prompt")]
    texts: u8,
    /// Always draft this many tokens; by default, as many as make decoding fastest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    block: Option<u16>,
    /// Draft also what followed the last tokens earlier, in the prompt or in the text: for texts that repeat much, such as an
    /// edited program
    #[arg(long)]
    lookup: bool,
    /// Draft also what followed the last tokens in the texts of this file, one a line: for texts that are like earlier ones. By
    /// default, the zoo's portraits are also drafted from portraits of other people
    #[arg(long, value_name = "FILE")]
    lookup_in: Option<PathBuf>,
    /// Let a copy of the tuned model draft, too, whose weights candle quantises to this type: `q8_0`, `q5_0` or `q4_0`. It is for
    /// models of some hundred million weights in 16 or 32 bits, of which such a copy drafts about twice as fast; the zoo's are
    /// too small for it
    #[arg(long, value_name = "TYPE", value_parser = fewer_bits)]
    draft_weight_type: Option<WeightType>,
    #[command(flatten)]
    models: ModelFlags,
    #[command(flatten)]
    decoding: DecodingFlags,
    #[command(flatten)]
    settings: TextFlags,
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.models.backend == flags::Backend::Candle && args.models.mode != flags::Mode::Down {
        // Speculation gains the more, the larger the model is beside the draft.
        args.models.zoo_large = "gguf/base-wide-q8_0.gguf";
    }
    args.models.draft_weight_type = args.draft_weight_type;
    let checked = args.models.refuse(&["reference"]);
    let checked = checked.and_then(|()| args.prompt.iter().try_for_each(|prompt| check_question(prompt)));
    exit::exit(checked.and_then(|()| models::with_backend(&args.models, &Compare(&args))))
}

/// A type with fewer bits than that of the files.
fn fewer_bits(name: &str) -> Result<WeightType> {
    let kind = name.parse()?;
    anyhow::ensure!(kind != WeightType::Stored, "a copy as the files store it drafts like the model itself");
    Ok(kind)
}

struct Compare<'a>(&'a Args);

impl Run for Compare<'_> {
    fn run<B: Backend>(&self, models: Models<B>) -> Result<()> {
        let Self(args) = self;
        let asked = match &args.prompt {
            Some(prompt) => vec![prompt.clone()],
            None => {
                let questions = zoo::questions("portrait", args.texts.into())?;
                questions.into_iter().map(|question| question.question).collect()
            }
        };
        let (combined, tuned) = (&models.combined, &models.tuned);
        args.settings.report(&models);
        // With `same_text` the texts are the same even if they are sampled.
        let by_model = combined.speculate().draft(tuned).same_text();
        let mut ways = vec![(format!("drafted by {tuned}"), by_model.clone())];
        if let (Some(draft), Some(kind)) = (&models.draft, args.draft_weight_type) {
            ways.push((format!("by its copy in {kind}"), combined.speculate().draft(draft).same_text()));
        }
        if args.lookup {
            ways.push(("or found in the text".to_string(), by_model.clone().lookup(Lookup::default())));
        }
        let texts = args.earlier(&models)?;
        if !texts.is_empty() {
            let name = format!("or found in the text or others ({})", texts.len());
            ways.push((name, by_model.lookup_in(Lookup::default(), texts)));
        }
        let fixed = |way: Speculative<B>| match args.block {
            Some(tokens) => way.block(tokens.into()),
            None => way,
        };
        let ways: Vec<_> = ways.into_iter().map(|(name, way)| (name, fixed(way))).collect();

        let mut plainly = Total::default();
        let mut drafted = vec![Total::default(); ways.len()];
        let mut first = String::new();
        for (index, asked) in asked.iter().enumerate() {
            let prompt = Prompt::chat(&asked[..]);
            let decoding = args.settings.decoding(&models, combined, &prompt, &args.decoding)?;
            if index == 0 {
                // The first generation is slower, since weights are read from disk, and the first drafts, since their costs are
                // not known.
                combined.generate(&prompt, &decoding)?.try_for_each(|token| token.map(drop))?;
                for (_, way) in &ways {
                    way.generate(&prompt, &decoding)?.try_for_each(|token| token.map(drop))?;
                }
            }
            let text = plainly.add(combined.generate(&prompt, &decoding)?)?;
            for ((_, way), total) in ways.iter().zip(&mut drafted) {
                let same = total.add(way.generate(&prompt, &decoding)?)? == text;
                total.same += usize::from(same);
            }
            if index == 0 {
                first = text;
            }
        }

        say!("{combined}\n» {}\n{first}\n", asked[0]);
        let wide = ways.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let millis = |total: &Total| 1e3 * total.time.as_secs_f64();
        say!("{:wide$}  {:6.0} ms: {} tokens", "plainly", millis(&plainly), plainly.tokens);
        for ((name, _), total) in ways.iter().zip(&drafted) {
            say!(
                "{name:wide$}  {:6.0} ms: speed-up {:.2}, {:.2} tokens per pass of the target, {} of {} texts identical",
                millis(total),
                millis(&plainly) / millis(total),
                total.tokens as f64 / total.passes as f64,
                total.same,
                asked.len()
            );
            let found = match total.looked_up {
                [_, 0] => String::new(),
                looked_up => format!(", {} found", share(looked_up)),
            };
            say!("{:wide$}  accepted: {} drafted by the model{found}", "", share(total.by_model));
        }
        Ok(())
    }
}

impl Args {
    /// The texts in which drafts are looked up, as tokens of the combination.
    fn earlier<B: Backend>(&self, models: &Models<B>) -> Result<Vec<Vec<TokenId>>> {
        let encode = |text: &str| models.combined.continuation(text);
        match (&self.lookup_in, &self.prompt) {
            (Some(file), _) => {
                let name = file.display();
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
                let texts = text.lines().filter(|line| !line.trim().is_empty());
                let texts: Vec<_> =
                    texts.map(encode).collect::<eft::Result<_>>().context("with `--lookup-in`")?;
                anyhow::ensure!(!texts.is_empty(), "{name} has no text");
                Ok(texts)
            }
            // Over bytes, texts have no tokens.
            (None, None) if self.models.large.is_none() && !self.models.bytes => {
                Ok(zoo::other_portraits()?.iter().map(|text| encode(text)).collect::<eft::Result<_>>()?)
            }
            (None, _) => Ok(Vec::new()),
        }
    }
}

/// Accepted and judged tokens.
type Accepted = [usize; 2];

fn share([accepted, judged]: Accepted) -> String {
    match judged {
        0 => "none".into(),
        _ => format!("{:.0} % of {judged}", 100.0 * accepted as f64 / judged as f64),
    }
}

/// What one way of decoding took, over all texts.
#[derive(Debug, Clone, Default)]
struct Total {
    time: Duration,
    tokens: usize,
    /// Passes of the target.
    passes: usize,
    by_model: Accepted,
    looked_up: Accepted,
    /// Texts that are those of plain decoding.
    same: usize,
}

impl Total {
    /// Adds the time of a text, after the pass over its prompt, and returns the text.
    fn add<B: Backend>(&mut self, mut generation: Generation<B>) -> Result<String> {
        let start = Instant::now();
        let mut detokenizer = Detokenizer::new(generation.vocab().clone());
        let mut text = String::new();
        for token in generation.by_ref() {
            text.push_str(&detokenizer.push(token?.id));
            self.tokens += 1;
        }
        text.push_str(&detokenizer.finish());
        self.time += start.elapsed();
        if let Some(report) = generation.report() {
            self.passes += report.blocks + report.plain_steps;
            let looked_up = [report.looked_up_accepted, report.looked_up_judged];
            for (index, all) in [report.accepted, report.judged].into_iter().enumerate() {
                self.looked_up[index] += looked_up[index];
                self.by_model[index] += all - looked_up[index];
            }
        }
        Ok(text)
    }
}
