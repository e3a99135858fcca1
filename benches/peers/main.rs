//! Measures our backends beside the programs that a user would pick instead, on the same weights and prompts with the
//! same number of threads. All programs alternate in rounds within one run. `benches/peers/run` starts it, after it has
//! fetched what it needs; it describes the options.
//!
//! Environment variables:
//! - `EFT_MODELS`: a folder with `NAME.gguf` for each model, and folders of the same weights in other types:
//!   `NAME-float32`, `NAME-bfloat16`, `NAME-onnx` (f32);
//! - `EFT_LLAMA_PYTHON`: an interpreter with `xllamacpp`; `EFT_PYTHON`: one with torch and transformers;
//!   `EFT_VLLM_PYTHON`: one with vLLM;
//! - `RAYON_NUM_THREADS` and `OMP_NUM_THREADS`: the number of threads.
//!
//! The files of models are mapped into memory: do not change them while it runs.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod contestants;
mod load;
#[path = "../passes/mod.rs"]
mod passes;
mod report;
mod single;
mod speculation;
#[path = "../theirs/mod.rs"]
mod theirs;
mod trio;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use report::Report;

/// What to measure. Parts that lack a model or a program are skipped, and the output says so.
#[derive(Parser)]
struct Options {
    /// Fewer rounds, shorter contexts, fewer texts
    #[arg(long)]
    quick: bool,
    /// The models, of smollm2-135m, qwen-0.5b, qwen-1.5b and trio
    #[arg(long, value_delimiter = ',', default_value = "smollm2-135m,qwen-0.5b,qwen-1.5b,trio")]
    models: Vec<String>,
    /// The parts
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "load,passes,contexts,batches,steps,speculation"
    )]
    parts: Vec<Part>,
    /// The types of the weights of single models
    #[arg(long, value_delimiter = ',', value_enum, default_value = "gguf,float32,bfloat16")]
    weights: Vec<Weights>,
    /// The file for the results
    #[arg(long, default_value = "peers.json")]
    json: PathBuf,
    /// Loads a model in this process, and prints what that took
    #[arg(long, hide = true, num_args = 2)]
    load: Option<Vec<String>>,
    #[arg(long, hide = true)]
    bench: bool,
}

/// A type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    Gguf,
    Float32,
    Bfloat16,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time and memory that loading takes
    Load,
    /// The first token of prompts of several lengths; one token, and several
    Passes,
    /// One token after contexts of several lengths
    Contexts,
    /// One token in each of several rows
    Batches,
    /// The step of emulated fine-tuning
    Steps,
    /// Speculative decoding
    Speculation,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

fn main() {
    let options = Options::parse();
    if let Some(arguments) = &options.load {
        return load::here(&arguments[0], arguments[1].as_ref());
    }
    let Some(folder) = std::env::var_os("EFT_MODELS").map(PathBuf::from) else {
        return println!("SKIPPED: EFT_MODELS names no folder of models; `benches/peers/run` fetches them");
    };
    let mut report = Report::new(options.quick, options.json.clone());
    for model in &options.models {
        match &model[..] {
            "trio" => {
                if options.has(Part::Steps) {
                    trio::steps(&folder, &options, &mut report);
                }
                if options.has(Part::Speculation) {
                    speculation::compare(&folder, &options, &mut report);
                }
            }
            model => single::compare(&folder, model, &options, &mut report),
        }
        report.write();
    }
}
