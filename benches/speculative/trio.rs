//! Real models: a large one, and a small one with and without a system message, which stands in for tuning. The small
//! model with the message drafts, and shares its passes with the one without. With quantised weights by candle
//! (`trio`), and with folders of checkpoints by libtorch (`trio-tch`).
//!
//! Environment variables:
//! - `EFT_MODELS`: the folder of the two models;
//! - `EFT_LARGE`, `EFT_SMALL`: their names, if they are others than those of Qwen2.5-Coder;
//! - `EFT_KIND`: the type that libtorch computes with, `bfloat16` by default;
//! - `EFT_PROMPTS=10..20`: the range of prompts;
//! - `EFT_RESULTS`: a file to which results are appended, and whose results of all runs are summarised; use one for
//!   each library;
//! - `EFT_DRAFT=q4_0`: with candle, a copy of the small model drafts, whose weights are quantised to this type;
//! - `EFT_BLOCKS=2,4,8`: adds runs with these fixed draft lengths.
use std::io::Write;
use std::path::{Path, PathBuf};

use eft::models::{Checkpoint, Nn, Weights};
use eft::{Decoding, Prompt, PromptTransform, Sampling};
use serde::{Deserialize, Serialize};

use crate::bound::Costs;
use crate::clock::Clock;
use crate::compare::{Contest, Divergence, Sums};
use crate::load::model;
#[cfg(feature = "candle")]
use crate::lookup::lines;
use crate::table::lengths;

/// One a line. They were fixed before any of them was measured.
const PROMPTS: &str = include_str!("prompts.txt");
/// Prompts that ask to repeat much of them, between lines of `%%`. They were fixed before any of them was measured, too.
#[cfg(feature = "candle")]
const REPEATS: &str = include_str!("repeats.txt");
const TUNING: &str = "You are a friendly teacher. Answer in simple words that a child of ten can follow.";
const TOKENS: usize = 128;

/// One line of a file of results.
#[derive(Serialize, Deserialize)]
enum Found {
    Text { prompt: usize, sums: Sums, divergence: Option<Divergence> },
    Block { length: usize, sums: Sums },
    Costs(Costs),
}

#[cfg(feature = "candle")]
const FILES: [&str; 2] =
    ["qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"];

#[cfg(feature = "candle")]
pub(crate) fn by_candle() {
    use eft::candle::{Candle, CandleNn, Gguf, WeightType};
    if let Some(files) = files(FILES) {
        let nn = CandleNn::new(Candle::cpu());
        let draft = env("EFT_DRAFT", "stored").parse().unwrap();
        let draft = (draft != WeightType::Stored).then(|| nn.clone().weight_type(draft));
        run(files, &nn, draft, |path| match path.is_dir() {
            true => Box::new(Checkpoint::open(path).unwrap()),
            false => Box::new(Gguf::open(path).unwrap()),
        });
    }
}

/// Drafts by lookup, on prompts that ask to repeat much of them, and on as many of the others.
#[cfg(feature = "candle")]
pub(crate) fn looked_up() {
    use eft::candle::{Candle, CandleNn, Gguf};
    let Some(files) = files(FILES) else { return };
    let (nn, clock) = (CandleNn::new(Candle::cpu()), Clock::default());
    let [large, small] = files.map(|file| model(&nn, &file, &Gguf::open(&file).unwrap(), &clock));
    let tuned = small.under(PromptTransform::system(TUNING)).named("tuned");
    let upscaled = &large + (&tuned - &small);
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(TOKENS);
    let repeats: Vec<_> = REPEATS.split("%%\n").map(str::trim_end).collect();
    let range = range(repeats.len());
    let of = |prompts: Vec<&str>| prompts[range.clone()].iter().map(|p| Prompt::chat(*p)).collect::<Vec<_>>();
    let (repeats, others) = (of(repeats), of(PROMPTS.lines().collect()));
    lines("prompts to repeat much of", &upscaled, &tuned, &repeats, &[], &decoding);
    lines("other prompts", &upscaled, &tuned, &others, &[], &decoding);
}

/// The range of prompts that `EFT_PROMPTS` names, by default all.
fn range(prompts: usize) -> std::ops::Range<usize> {
    match env("EFT_PROMPTS", "").split_once("..") {
        Some((start, end)) => start.parse().unwrap()..end.parse().unwrap(),
        None => 0..prompts,
    }
}

#[cfg(feature = "tch")]
pub(crate) fn by_libtorch() {
    use eft::tch::{Kind, Torch, TorchNn};
    let kind = match &env("EFT_KIND", "bfloat16")[..] {
        "float32" => Kind::Float,
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        other => panic!("EFT_KIND is `{other}`"),
    };
    if let Some(folders) = files(["qwen2.5-coder-1.5b-instruct", "qwen2.5-coder-0.5b-instruct"]) {
        let nn = TorchNn::new(Torch::cpu()).kind(kind);
        run(folders, &nn, None, |folder| Box::new(Checkpoint::open(folder).unwrap()));
    }
}

fn env(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.into())
}

/// The paths of the large and of the small model.
fn files([large, small]: [&str; 2]) -> Option<[PathBuf; 2]> {
    let Some(folder) = std::env::var_os("EFT_MODELS") else {
        println!("the trio skipped: EFT_MODELS is not set");
        return None;
    };
    let files = [("EFT_LARGE", large), ("EFT_SMALL", small)]
        .map(|(name, default)| Path::new(&folder).join(env(name, default)));
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        println!("the trio skipped: {} does not exist", missing.display());
        return None;
    }
    Some(files)
}

fn run<N: Nn>(files: [PathBuf; 2], nn: &N, draft: Option<N>, open: impl Fn(&Path) -> Box<dyn Weights>) {
    let clock = Clock::default();
    let quick = draft.map(|nn| model(&nn, &files[1], &*open(&files[1]), &clock));
    let [large, small] = files.map(|file| model(nn, &file, &*open(&file), &clock));
    let tuned = small.under(PromptTransform::system(TUNING)).named("tuned");
    let upscaled = &large + (&tuned - &small);
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(TOKENS);
    let draft = quick.map_or(tuned.clone(), |q| q.under(PromptTransform::system(TUNING)).named("quick"));

    let prompts: Vec<_> = PROMPTS.lines().collect();
    let range = range(prompts.len());
    let lengths = lengths();
    let mut results = Vec::new();
    let mut found = |found: Found| {
        if let Some(file) = std::env::var_os("EFT_RESULTS") {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
            writeln!(file, "{}", serde_json::to_string(&found).unwrap()).unwrap();
        }
        results.push(found);
    };
    let contest = Contest::new(&upscaled, &draft, &decoding, &clock);
    for index in range {
        let prompt = Prompt::chat(prompts[index]);
        let mut sums = Sums::default();
        let outcome = contest.run(&prompt, &mut sums);
        found(Found::Text { prompt: index, sums, divergence: outcome.divergence });
        for length in &lengths {
            let mut sums = Sums::default();
            contest.fixed(*length).drafted(&prompt, &mut sums);
            found(Found::Block { length: *length, sums });
        }
        if index % 5 == 0 {
            let text = (&prompt, &outcome.text[..]);
            found(Found::Costs(Costs::measure(&upscaled, &draft, text, &clock, 1)));
        }
    }
    if let Some(file) = std::env::var_os("EFT_RESULTS") {
        let lines = std::fs::read_to_string(file).unwrap();
        results = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    }
    summarise(&results);
}

/// Prints the totals of all results.
fn summarise(results: &[Found]) {
    let (mut total, mut same, mut costs) = (Sums::default(), 0, Vec::new());
    let mut blocks = std::collections::BTreeMap::<usize, Sums>::new();
    for found in results {
        match found {
            Found::Text { prompt, sums, divergence } => {
                total.add(sums);
                match divergence {
                    None => same += 1,
                    Some(Divergence { at, margin }) => {
                        println!(
                            "prompt {prompt}: a different token at {at}, with a margin of {margin:.1e} nats"
                        );
                    }
                }
            }
            Found::Block { length, sums } => blocks.entry(*length).or_default().add(sums),
            Found::Costs(measured) => costs.push(measured.clone()),
        }
    }
    let costs = Costs::mean(&costs);
    total.print(&format!("{} texts, {same} the same", total.texts), &costs);
    for (length, sums) in blocks {
        sums.print_block(length);
    }
    println!("adaptive length: {:.2} ms per token", 1e3 * total.drafted / total.tokens as f64);
}
