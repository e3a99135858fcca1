//! Measures forward passes, compares them with llama.cpp and with eager transformers, and measures the time saved by
//! sharing weights.
//!
//! Rounds of all programs under comparison alternate, and medians are compared. Environment variables choose the
//! measurements:
//! - `EFT_MODELS`: a folder of GGUF files, compared with llama.cpp if `EFT_LLAMA_PYTHON` names an interpreter with
//!   `xllamacpp`;
//! - `EFT_F32`: a folder of a model in safetensors, compared with eager transformers if `EFT_PYTHON` names an
//!   interpreter that has it.
//!
//! All sides use `RAYON_NUM_THREADS` threads, by default one for each core.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use eft::candle::{Candle, CandleNn};
use eft::models::{Adapter, Checkpoint, DecoderEngine};
use eft::{Engine, EngineRow, RowFeed, Session};

mod passes;
mod theirs;

use passes::adapter::adapter;
use passes::memory::{peak, size};
use passes::{Pass, by_candle, ids, prompt};
use theirs::{Theirs, median, threads};

const ROUNDS: usize = 5;
const PROMPT: usize = 64;

/// The passes to measure.
const PASSES: [(&str, Pass); 4] = [
    ("prefill of 64", Pass::new(0, PROMPT, 1, 2)),
    ("1 token", Pass::new(PROMPT, 1, 1, 12)),
    ("4 tokens, all scored", Pass::new(PROMPT, 4, 4, 4)),
    ("8 tokens, all scored", Pass::new(PROMPT, 8, 8, 4)),
];

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--memory") {
        return memory_of(Path::new(&args[at + 1]));
    }
    match std::env::var_os("EFT_MODELS") {
        None => println!("GGUF files skipped: EFT_MODELS is not set"),
        Some(folder) => {
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = files.filter(|f| f.extension() == Some(OsStr::new("gguf"))).collect();
            files.sort();
            for file in files {
                let threads = threads().to_string();
                let arguments = [file.as_os_str(), OsStr::new(&threads)];
                compare(
                    &file,
                    "llama.cpp",
                    "EFT_LLAMA_PYTHON",
                    Theirs::start("EFT_LLAMA_PYTHON", "llama_cpp.py", &arguments),
                );
            }
        }
    }
    match std::env::var_os("EFT_F32").map(PathBuf::from) {
        None => println!("safetensors skipped: EFT_F32 is not set"),
        Some(folder) => {
            let threads = threads().to_string();
            let arguments = [OsStr::new("float32"), OsStr::new(&threads), folder.as_os_str()];
            compare(
                &folder,
                "transformers",
                "EFT_PYTHON",
                Theirs::start("EFT_PYTHON", "eager.py", &arguments),
            );
            shared(&folder);
        }
    }
}

/// Compares one model with another program that runs it.
fn compare(file: &Path, other: &str, python: &str, mut theirs: Option<Theirs>) {
    println!("\n{}", file.file_name().unwrap_or(file.as_os_str()).display());
    memory(file);
    let mut model = by_candle(file);
    if theirs.is_none() {
        println!("{other} skipped: {python} is not set");
    }
    let mut times = vec![(Vec::new(), Vec::new()); PASSES.len()];
    for round in 0..=ROUNDS {
        for ((_, pass), (our, their)) in PASSES.iter().zip(&mut times) {
            let seconds = model.run(pass).unwrap();
            let other = theirs.as_mut().map(|theirs| theirs.seconds(&pass.command()));
            // The first round warms up.
            if round > 0 {
                our.extend(seconds);
                their.extend(other.into_iter().flatten());
            }
        }
    }
    println!("{:22} {:>10} {other:>13} ms   their time over ours", "median", "ours, ms");
    for ((name, _), (our, their)) in PASSES.iter().zip(&mut times) {
        let our = 1e3 * median(our);
        print!("{name:22} {our:10.2}");
        match &mut their[..] {
            [] => println!(),
            their => println!(" {:13.2} {:13.2}", 1e3 * median(their), 1e3 * median(their) / our),
        }
    }
}

/// Measures one row, several tokens of one row, and two rows of which one is under an adapter.
fn shared(folder: &Path) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let adapter = adapter(&checkpoint);
    let nn = CandleNn::new(Candle::cpu());
    let adapters = [Adapter::open(adapter.path()).unwrap()];
    let model = DecoderEngine::with_adapters(nn, &checkpoint, &adapters, None).unwrap();
    let open = |rows: &[EngineRow]| model.open(rows).unwrap().0;
    let mut alone = open(&[prompt(0, PROMPT)]);
    let mut pair = open(&[prompt(0, PROMPT), EngineRow { adapter: Some(0), ..prompt(0, PROMPT) }]);
    let step = |session: &mut Box<dyn Session<Backend = Candle>>, rows: usize, tokens: usize| {
        let feed = RowFeed { tokens: ids(0, tokens), wanted: tokens };
        let start = Instant::now();
        std::hint::black_box(session.extend(&vec![feed; rows]).unwrap());
        let seconds = start.elapsed().as_secs_f64();
        session.rollback(&vec![tokens; rows]).unwrap();
        seconds
    };
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..8 * ROUNDS {
        times[0].push(step(&mut alone, 1, 1));
        times[1].push(step(&mut pair, 2, 1));
        times[2].push(step(&mut alone, 1, 8));
    }
    let [one, pair, eight] = times.map(|mut times| 1e3 * median(&mut times));
    println!("\nshared weights, f32: one row {one:.2} ms");
    println!("a row and one under an adapter of rank 8: {pair:.2} ms, {:.2} of one", pair / one);
    println!("8 tokens, all scored: {eight:.2} ms, {:.2} of one", eight / one);
}

/// Prints the memory of a process that does nothing but run the model.
fn memory(file: &Path) {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--memory").arg(file).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

fn memory_of(file: &Path) {
    let start = Instant::now();
    let model = by_candle(file);
    let seconds = start.elapsed().as_secs_f64();
    let (mut session, _) = model.engine.open(&[prompt(0, PROMPT)]).unwrap();
    session.extend(&[RowFeed::one(5)]).unwrap();
    let Some(resident) = peak() else {
        return println!("loaded in {seconds:.2} s; resident size not measured, since there is no /proc");
    };
    let (resident, bytes) = (resident as f64 / 1e6, size(file) as f64 / 1e6);
    println!(
        "loaded in {seconds:.2} s; at most {resident:.0} MB resident, with a cache of {PROMPT} tokens; the file has \
         {bytes:.0} MB, {:.2} of which that is",
        resident / bytes
    );
}
