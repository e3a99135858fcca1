//! Measures `large + (tuned − small)` on one device: tokens per second plainly, with speculation at a chosen acceptance, and
//! by a proxy-tuning loop in eager transformers; and counts what crosses between the device and the host. `gpu/check` runs
//! it, with models of random weights that `gpu/make-models` writes; on a machine without a GPU, on the processor with tiny
//! ones.
//!
//! The small model is loaded twice, as the tuned and the untuned one. If `EFT_PYTHON` names an interpreter with
//! transformers, its loop runs on the same device, in turn with ours. The program fails if a number of the traffic exceeds its
//! bound, or if the texts with and without speculation differ.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "../simulated/agreement.rs"]
mod agreement;
mod speed;
mod steered;
#[path = "../theirs/mod.rs"]
mod theirs;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use eft::backend::DeviceName;
use serde::Serialize;

use speed::Speed;
use traffic::Counted;

/// What to measure, and where.
#[derive(Debug, Parser)]
struct Options {
    /// The library that runs the models
    #[arg(long, value_enum)]
    library: Library,
    /// The device: `cpu`, `cuda`, `cuda:1`, `metal`
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// The type that the models compute in
    #[arg(long, value_enum, default_value = "bfloat16")]
    kind: Kind,
    /// The folder of the large model
    #[arg(long)]
    large: PathBuf,
    /// The folder of the small model
    #[arg(long)]
    small: PathBuf,
    /// The tokens of a text
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// The rounds, in each of which every way of decoding writes a text; one more warms up
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The probability that the target accepts a drafted token
    #[arg(long, default_value_t = 0.8)]
    acceptance: f64,
    /// The file for the results, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Library {
    Candle,
    #[cfg(feature = "tch")]
    Tch,
}

/// The type that the models compute in, by PyTorch's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Kind {
    Float32,
    Float16,
    BFloat16,
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Results {
    library: String,
    device: String,
    kind: String,
    tokens: usize,
    acceptance: f64,
    speeds: Vec<Speed>,
    traffic: Vec<Counted>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (speeds, traffic) = match options.library {
        Library::Candle => {
            use eft::candle::{Candle, CandleNn, DType};
            let dtype = match options.kind {
                Kind::Float32 => DType::F32,
                Kind::Float16 => DType::F16,
                Kind::BFloat16 => DType::BF16,
            };
            let candle = Candle::try_from(options.device);
            let candle = candle.unwrap_or_else(|error| panic!("{}", eft::error::with_sources(&error)));
            speed::measure(&CandleNn::new(candle).dtype(dtype), &options)
        }
        #[cfg(feature = "tch")]
        Library::Tch => {
            use eft::tch::{Kind as TorchKind, Torch, TorchNn};
            let kind = match options.kind {
                Kind::Float32 => TorchKind::Float,
                Kind::Float16 => TorchKind::Half,
                Kind::BFloat16 => TorchKind::BFloat16,
            };
            speed::measure(&TorchNn::new(Torch::try_from(options.device).unwrap()).kind(kind), &options)
        }
    };
    println!("\ncopied for each token                  scores   to the host   to the device");
    for counted in &traffic {
        let Counted { decoding, row_floats, to_host, to_device, bounded } = counted;
        let verdict = if *bounded { "" } else { "   TOO MANY" };
        println!("{decoding:35} {row_floats:9.1} {to_host:13.1} {to_device:15.1}{verdict}");
    }
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let passed = traffic.iter().all(|counted| counted.bounded) && speeds.iter().all(|speed| speed.same);
    let results = Results {
        library: name(&options.library),
        device: options.device.to_string(),
        kind: name(&options.kind),
        tokens: options.tokens,
        acceptance: options.acceptance,
        speeds,
        traffic,
    };
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&results).unwrap()).unwrap();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
