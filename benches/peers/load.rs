//! The time that loading a model takes, and its memory, each in a process of its own.
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use eft::{Backend, Result, RowFeed};

use crate::passes::memory::{peak, size};
use crate::passes::{Ours, by_candle, prompt};
use crate::report::{Record, Report};
use crate::{Options, Weights};

/// The tokens in the cache when memory is measured.
const PROMPT: usize = 64;

/// Loads the model's files, one after another.
pub(crate) fn compare(folder: &Path, model: &str, options: &Options, report: &mut Report) {
    report.heading(&format!("{model}: loading from a warm cache of files, and memory with {PROMPT} tokens"));
    println!(
        "| weights | program | load, s | peak, MB | files, MB | peak over files |\n| --- | --- | ---: | ---: | ---: | ---: |"
    );
    for (kind, weights, name) in [
        (Weights::Gguf, "GGUF", format!("{model}.gguf")),
        (Weights::Float32, "float32", format!("{model}-float32")),
        (Weights::Bfloat16, "bfloat16", format!("{model}-bfloat16")),
    ] {
        let path = folder.join(name);
        if !options.weights.contains(&kind) || !path.exists() {
            continue;
        }
        let mut programs = vec!["candle"];
        if cfg!(feature = "tch") && weights != "GGUF" {
            programs.push("libtorch");
        }
        for program in programs {
            let mut seconds = Vec::new();
            let mut memory = None;
            for _ in 0..report.effort().0 {
                let arguments = ["--load", program];
                let mut command = Command::new(std::env::current_exe().unwrap());
                let output = command.args(arguments).arg(&path).output().unwrap();
                let line = String::from_utf8_lossy(&output.stdout);
                let Some((took, most)) = line.trim().split_once(' ') else {
                    report.skip(format!("loading {model} in {weights} by {program}: the process failed"));
                    break;
                };
                seconds.push(took.parse().unwrap());
                memory = most.parse::<u64>().ok();
            }
            if seconds.is_empty() {
                continue;
            }
            let record = Record::new(model, "load", weights, program, seconds).memory(memory, size(&path));
            let (peak, files) =
                (memory.map_or(f64::NAN, |bytes| bytes as f64 / 1e6), size(&path) as f64 / 1e6);
            println!(
                "| {weights} | {program} | {:.2} | {peak:.0} | {files:.0} | {:.2} |",
                record.median,
                peak / files
            );
            report.keep(record);
        }
    }
}

/// Loads a model in this process and takes a step; prints the seconds of loading, and the largest resident size in bytes.
pub(crate) fn here(program: &str, model: &Path) {
    let start = Instant::now();
    match program {
        "candle" => step(start, by_candle(model)),
        #[cfg(feature = "tch")]
        "libtorch" => {
            use eft::models::{Checkpoint, DecoderEngine};
            let weights = if model.to_string_lossy().ends_with("bfloat16") { "bfloat16" } else { "float32" };
            let nn = crate::contestants::torch(weights);
            step(start, Ours::new(DecoderEngine::load(nn, &Checkpoint::open(model).unwrap(), None).unwrap()))
        }
        other => panic!("no program is called {other}"),
    }
    .unwrap();
}

fn step<B: Backend>(start: Instant, model: Ours<B>) -> Result<()> {
    let seconds = start.elapsed().as_secs_f64();
    let (mut session, _) = model.engine.open(&[prompt(0, PROMPT)])?;
    session.extend(&[RowFeed::one(5)])?;
    println!("{seconds} {}", peak().map_or("unknown".into(), |bytes| bytes.to_string()));
    Ok(())
}
