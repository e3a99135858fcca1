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

use eft::candle::{Candle, CandleNn, Gguf};
use eft::models::{Adapter, Checkpoint, DecoderEngine, Weights};
use eft::{Engine, EngineRow, RowFeed, Session};

mod theirs;

use theirs::{Theirs, median};

const ROUNDS: usize = 5;
const PROMPT: usize = 64;

/// The passes to measure: tokens in the cache, tokens that are fed, for how many of these logits are wanted, and the
/// number of passes in a round.
const PASSES: [(&str, [usize; 4]); 4] = [
    ("prefill of 64", [0, PROMPT, 1, 2]),
    ("1 token", [PROMPT, 1, 1, 12]),
    ("4 tokens, all scored", [PROMPT, 4, 4, 4]),
    ("8 tokens, all scored", [PROMPT, 8, 8, 4]),
];

type Model = Box<dyn Engine<Backend = Candle>>;

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
                compare(&file, "llama.cpp", "EFT_LLAMA_PYTHON", "llama_cpp.py");
            }
        }
    }
    match std::env::var_os("EFT_F32").map(PathBuf::from) {
        None => println!("safetensors skipped: EFT_F32 is not set"),
        Some(folder) => {
            compare(&folder, "transformers", "EFT_PYTHON", "decode_eager.py");
            shared(&folder);
        }
    }
}

fn load(model: &Path) -> Model {
    let nn = CandleNn::new(Candle::cpu());
    if model.is_dir() {
        Box::new(DecoderEngine::load(nn, &Checkpoint::open(model).unwrap(), None).unwrap())
    } else {
        let gguf = Gguf::open(model).unwrap();
        Box::new(DecoderEngine::load(nn, &gguf, gguf.vocab().cloned()).unwrap())
    }
}

fn ids(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| (7 * i * i + 3) % 3000 + 10).collect()
}

fn row(adapter: Option<usize>, past: usize) -> EngineRow {
    EngineRow { adapter, tokens: ids(past) }
}

/// Returns the seconds of each pass.
fn ours(model: &Model, [past, new, wanted, rounds]: [usize; 4]) -> Vec<f64> {
    let mut session = (past > 0).then(|| model.open(&[row(None, past)]).unwrap().0);
    let pass = |_| {
        let start = Instant::now();
        match &mut session {
            None => drop(std::hint::black_box(model.open(&[row(None, new)]).unwrap())),
            Some(session) => {
                let feed = RowFeed { tokens: ids(past + new)[past..].to_vec(), wanted };
                std::hint::black_box(session.extend(&[feed]).unwrap());
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        session.iter_mut().for_each(|session| session.rollback(&[new]).unwrap());
        seconds
    };
    (0..rounds).map(pass).collect()
}

/// Compares one model with another program that runs it.
fn compare(file: &Path, other: &str, python: &str, script: &str) {
    println!("\n{}", file.file_name().unwrap_or(file.as_os_str()).display());
    memory(file);
    let model = load(file);
    let mut theirs = Theirs::start(python, script, file.as_os_str());
    if theirs.is_none() {
        println!("{other} skipped: {python} is not set");
    }
    let mut times = vec![(Vec::new(), Vec::new()); PASSES.len()];
    for round in 0..=ROUNDS {
        for ((_, pass), (our, their)) in PASSES.iter().zip(&mut times) {
            let seconds = ours(&model, *pass);
            let other = theirs.as_mut().map(|theirs| theirs.measure(pass));
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
    let mut alone = open(&[row(None, PROMPT)]);
    let mut pair = open(&[row(None, PROMPT), row(Some(0), PROMPT)]);
    let step = |session: &mut Box<dyn Session<Backend = Candle>>, rows: usize, tokens: usize| {
        let feed = RowFeed { tokens: ids(tokens), wanted: tokens };
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

/// Writes an adapter of every linear layer, with arbitrary weights.
fn adapter(checkpoint: &Checkpoint) -> tempfile::TempDir {
    const RANK: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let (mut header, mut length) = (serde_json::Map::new(), 0);
    for linear in Weights::spec(checkpoint).linears() {
        for (part, shape) in [("A", [RANK, linear.inputs]), ("B", [linear.outputs, RANK])] {
            let end = length + 4 * shape[0] * shape[1];
            let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [length, end]});
            header.insert(format!("base_model.model.{}.lora_{part}.weight", linear.name), entry);
            length = end;
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend((0..length / 4).flat_map(|i| ((i * 7 % 13) as f32 * 1e-3 - 6e-3).to_le_bytes()));
    std::fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
    let config = serde_json::json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 16});
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    folder
}

/// Prints the memory of a process that does nothing but run the model.
fn memory(file: &Path) {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--memory").arg(file).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

fn memory_of(file: &Path) {
    let size = |file: &Path| std::fs::metadata(file).unwrap().len();
    let bytes = if file.is_dir() {
        let files = std::fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|f| f.extension() == Some(OsStr::new("safetensors"))).map(|f| size(&f)).sum()
    } else {
        size(file)
    };
    let start = Instant::now();
    let model = load(file);
    let seconds = start.elapsed().as_secs_f64();
    let (mut session, _) = model.open(&[row(None, PROMPT)]).unwrap();
    session.extend(&[RowFeed::one(5)]).unwrap();
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return println!("loaded in {seconds:.2} s; resident size not measured, since there is no /proc");
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let resident: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let (resident, bytes) = (resident / 1e3 * 1.024, bytes as f64 / 1e6);
    println!(
        "loaded in {seconds:.2} s; at most {resident:.0} MB resident, with a cache of {PROMPT} tokens; the file has \
         {bytes:.0} MB, {:.2} of which that is",
        resident / bytes
    );
}
