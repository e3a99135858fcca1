//! Writes an HTML page that shows a text token by token: how much likelier the combination makes each token, what each
//! term contributes, and the next likeliest tokens.
//!
//! ```sh
//! cargo run --release --example inspect -- --out page.html          # the zoo's models, on one of its questions
//! ```
#[macro_use]
#[path = "../common/exit.rs"]
mod exit;
#[path = "../common/flags.rs"]
mod flags;
#[path = "../common/models.rs"]
mod models;
#[path = "../common/settings.rs"]
mod settings;
#[path = "../common/zoo.rs"]
mod zoo;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use eft::decode::{Detokenizer, TermShare};
use eft::{Backend, Evaluator, Pick, Prompt, Source, Token, TokenId, Vocab};
use serde::Serialize;

use flags::{DecodingFlags, Mode, ModelFlags, check_question};
use models::{Models, Run};
use settings::TextFlags;

/// Writes an HTML page that shows what each term of a combination contributes to each token of a text.
#[derive(Parser)]
struct Args {
    /// The question to answer, or with `--raw` the text to continue; by default a question for the zoo's models
    prompt: Option<String>,
    /// Continue the prompt as plain text, instead of answering it
    #[arg(long)]
    raw: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "inspect.html")]
    out: PathBuf,
    /// The number of other tokens to compare each token with
    #[arg(long, value_name = "N", default_value_t = 3)]
    rivals: usize,
    #[command(flatten)]
    models: ModelFlags,
    #[command(flatten)]
    decoding: DecodingFlags,
    #[command(flatten)]
    texts: TextFlags,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let checked = args.models.refuse(&["reference"]).and_then(|()| match &args.prompt {
        Some(prompt) if !args.raw => check_question(prompt),
        _ => Ok(()),
    });
    exit::exit(checked.and_then(|()| models::with_backend(&args.models, &Inspect(&args))))
}

struct Inspect<'a>(&'a Args);

impl Run for Inspect<'_> {
    fn run<B: Backend>(&self, models: Models<B>) -> Result<()> {
        let Self(args) = self;
        let asked = match (&args.prompt, &args.models.large) {
            (Some(prompt), _) => prompt.clone(),
            (None, None) => zoo::questions("long", 1)?.remove(0).question,
            (None, Some(_)) => anyhow::bail!("a PROMPT is missing"),
        };
        let prompt = if args.raw { Prompt::Text(asked.clone()) } else { Prompt::chat(&asked[..]) };
        args.texts.report(&models);
        let decoding = args.texts.decoding(&models, &models.combined, &prompt, &args.decoding)?;
        let decoding = decoding.attribution(args.rivals);
        let mut generation = models.combined.generate(&prompt, decoding)?;
        let mut tokens: Vec<Token> = generation.by_ref().collect::<eft::Result<_>>()?;
        // The end-of-sequence token was chosen like any other.
        tokens.extend(generation.finished().into_iter().flat_map(|finished| finished.tail.clone()));

        let base = alone(&models.base, &prompt, &tokens)?;
        let page = Page {
            name: models.combined.name(),
            base: models.base.name(),
            prompt: asked,
            linear: args.models.mode != Mode::Filtered,
            tokens: shown(&tokens, &base, models.combined.vocab()),
        };
        // In a script element, only `<` needs an escape.
        let data = serde_json::to_string(&page)?.replace('<', "\\u003c");
        let html = include_str!("page.html").replace("@DATA@", &data);
        std::fs::write(&args.out, html).with_context(|| format!("cannot write {}", args.out.display()))?;
        say!("{}: {} tokens", args.out.display(), tokens.len());
        Ok(())
    }
}

/// A model's log-probability of a token, and its own likeliest token at the same position.
struct Alone {
    log_prob: f32,
    likeliest: Pick,
}

/// Scores the tokens with one model alone.
fn alone<B: Backend>(model: &Source<B>, prompt: &Prompt, tokens: &[Token]) -> Result<Vec<Alone>> {
    let ids: Vec<TokenId> = tokens.iter().map(|token| token.id).collect();
    let Some((_, fed)) = ids.split_last() else { return Ok(Vec::new()) };
    let mut evaluator = Evaluator::open(&[model], std::slice::from_ref(prompt))?;
    evaluator.push(&[fed.to_vec()])?;
    let scores = evaluator.eval_from(0, &[0])?;
    let (rows, width) = (scores.positions(0), scores.width());
    let wanted: Vec<_> = ids.iter().map(|id| vec![*id]).collect();
    let log_probs = evaluator.backend().log_probs(&rows, &wanted, width)?.into_iter().flatten();
    let likeliest = evaluator.backend().argmax(&rows, width)?;
    Ok(log_probs.zip(likeliest).map(|(log_prob, likeliest)| Alone { log_prob, likeliest }).collect())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    name: String,
    base: String,
    prompt: String,
    /// Whether the terms' contributions add up to the combination.
    linear: bool,
    tokens: Vec<Shown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    text: String,
    log_prob: f32,
    base_log_prob: f32,
    /// Nats by which the combination makes the token likelier than the base does.
    moved: f32,
    /// The base's likeliest token, if it is another.
    instead: Option<Choice>,
    rivals: Vec<Choice>,
    terms: Vec<Term>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Choice {
    text: String,
    log_prob: Option<f32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    name: String,
    weight: Option<f32>,
    log_prob: f32,
    shares: Vec<f32>,
}

fn shown(tokens: &[Token], base: &[Alone], vocab: &std::sync::Arc<Vocab>) -> Vec<Shown> {
    let named = |id: TokenId| match vocab.bytes(id) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => vocab.describe(id),
    };
    let mut detokenizer = Detokenizer::new(vocab.clone());
    let term = |share: &TermShare| Term {
        name: share.name.clone(),
        weight: share.weight,
        log_prob: share.log_prob,
        // A term inside a rule has no weight, so its own margins are shown.
        shares: if share.weight.is_some() { share.shares.clone() } else { share.margins.clone() },
    };
    let each = |(token, alone): (&Token, &Alone)| {
        let attribution = token.attribution.as_ref();
        Shown {
            text: if vocab.is_special(token.id) { named(token.id) } else { detokenizer.push(token.id) },
            log_prob: token.log_prob,
            base_log_prob: alone.log_prob,
            moved: token.log_prob - alone.log_prob,
            instead: (token.id != alone.likeliest.token).then(|| Choice {
                text: named(alone.likeliest.token),
                log_prob: Some(alone.likeliest.log_prob),
            }),
            rivals: attribution.map_or(Vec::new(), |attribution| {
                attribution.rivals.iter().map(|id| Choice { text: named(*id), log_prob: None }).collect()
            }),
            terms: attribution.map_or(Vec::new(), |a| a.terms.iter().map(term).collect()),
        }
    };
    tokens.iter().zip(base).map(each).collect()
}
