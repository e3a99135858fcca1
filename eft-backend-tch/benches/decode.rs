//! Decoding on libtorch against eager PyTorch with the same libtorch, type and threads: forward passes of one model, a
//! step of emulated fine-tuning against a proxy-tuning loop, and the speed-up by speculative decoding.
//!
//! `EFT_MODELS` names one checkpoint folder, or a large and a small one over the same tokens, separated by a comma. Of
//! two, the small model serves as the tuned and the untuned model (loaded twice), and in a second measurement as one
//! model with a random adapter, whose rows share a pass with the bare model's. `EFT_KIND` is `float32` (default),
//! `bfloat16` or `float16`; `EFT_PYTHON` is an interpreter with transformers; `EFT_THREADS` is the number of threads on
//! both sides (default 2); `EFT_TEXTS=N` also measures speculative decoding of N texts of 128 tokens. Rounds alternate
//! between the contestants, and medians are compared.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use eft_backend_tch::{Kind, Torch, TorchNn};
use eft_core::{Decoding, Prompt, RowFeed, Sampling, Source, TokenId, Vocab};
use eft_core::{LogitSource, Session};
use eft_models::{Adapter, Checkpoint, DecoderEngine};

const PROMPT: usize = 64;
const ROUNDS: usize = 5;
const STEPS: usize = 8;

fn main() {
    let Ok(folders) = std::env::var("EFT_MODELS") else {
        println!("skipped: EFT_MODELS names no models");
        return;
    };
    let folders: Vec<_> = folders.split(',').map(Path::new).collect();
    let kind = std::env::var("EFT_KIND").unwrap_or_else(|_| "float32".into());
    let nn = TorchNn::new(Torch::cpu()).kind(match &kind[..] {
        "bfloat16" => Kind::BFloat16,
        "float16" => Kind::Half,
        _ => Kind::Float,
    });
    let threads = std::env::var("EFT_THREADS").map_or(2, |threads| threads.parse().unwrap());
    tch::set_num_threads(threads);
    println!("{kind}, {threads} threads");
    match folders[..] {
        [model] => alone(model, &nn, &kind, threads),
        [large, small] => trio([large, small], &nn, &kind, threads),
        _ => panic!("EFT_MODELS must name one folder or two"),
    }
}

/// Passes of one model.
fn alone(folder: &Path, nn: &TorchNn, kind: &str, threads: i32) {
    let model = load(folder, nn, None, None);
    let mut python = Python::start(kind, threads, &[folder]);
    println!("\n{model}                        ours, ms   eager, ms   eager ÷ ours   over one token");
    let passes = [(0, PROMPT, 2), (PROMPT, 1, 8), (PROMPT, 2, 6), (PROMPT, 4, 4), (PROMPT, 8, 4)];
    let mut times = vec![(Vec::new(), Vec::new()); passes.len()];
    for round in 0..=ROUNDS {
        for ((past, new, count), (ours, theirs)) in passes.iter().zip(&mut times) {
            let (a, b) =
                (pass(&model, *past, *new, *count), python.as_mut().map(|p| p.pass(*past, *new, *count)));
            // The first round warms up.
            if round > 0 {
                ours.extend(a);
                theirs.extend(b.into_iter().flatten());
            }
        }
    }
    let one = median(&times[1].0);
    for ((past, new, _), (ours, theirs)) in passes.iter().zip(&times) {
        let (ours, theirs) = (median(ours), median(theirs));
        let name = format!("{new} tokens after {past}");
        println!(
            "{name:30} {:10.2}  {:10.2}   {:12.2}   {:14.2}",
            1e3 * ours,
            1e3 * theirs,
            theirs / ours,
            ours / one
        );
    }
}

/// The step of `large + (tuned − untuned)`.
fn trio([large, small]: [&Path; 2], nn: &TorchNn, kind: &str, threads: i32) {
    let vocab = {
        let width = Checkpoint::open(large).unwrap().spec().vocab;
        Vocab::anonymous("both", width).unwrap()
    };
    let adapter = random_adapter(small);
    let large_model = load(large, nn, Some(&vocab), None);
    let (tuned, untuned) =
        (load(small, nn, Some(&vocab), None).named("tuned"), load(small, nn, Some(&vocab), None));
    let shared = load(small, nn, Some(&vocab), Some(adapter.path()));
    let apart = &large_model + 0.9 * (&tuned - &untuned);
    let paired = &large_model + 0.9 * (shared.adapter("random").unwrap() - &shared);
    let mut python = Python::start(kind, threads, &[large, small, small]);
    let (mut ours, mut of_pair, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (a, b) = (steps(&apart), steps(&paired));
        let c = python.as_mut().map(|python| python.steps(PROMPT, STEPS));
        if round > 0 {
            ours.extend(a);
            of_pair.extend(b);
            theirs.extend(c.into_iter().flatten());
        }
    }
    let theirs = median(&theirs);
    println!("\n{apart}                  ours, ms   eager, ms   eager ÷ ours");
    for (name, ours) in [("three models", median(&ours)), ("with an adapter", median(&of_pair))] {
        println!("{name:30} {:10.2}  {:10.2}   {:12.2}", 1e3 * ours, 1e3 * theirs, theirs / ours);
    }
    drop(python);
    let texts = std::env::var("EFT_TEXTS").map_or(0, |texts| texts.parse().unwrap());
    if texts > 0 {
        speculative(&paired, &shared.adapter("random").unwrap(), texts);
    }
}

/// Plain and speculative decoding of the same texts, in turn.
fn speculative(target: &Source<Torch>, draft: &Source<Torch>, texts: usize) {
    let (mut plain, mut fast, mut same) = (0.0, 0.0, 0);
    let (mut accepted, mut judged, mut tokens, mut passes) = (0, 0, 0, 0);
    for text in 0..texts {
        let prompt: Vec<TokenId> = (0..16).map(|i| (31 * text as u32 + 7 * i * i + 3) % 3000 + 10).collect();
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(128);
        let mut generation = target.generate(&prompt, &decoding).unwrap();
        let start = Instant::now();
        let expected: Vec<_> = generation.by_ref().map(|token| token.unwrap().id).collect();
        plain += start.elapsed().as_secs_f64();
        let mut generation = target.speculate().draft(draft).generate(&prompt, &decoding).unwrap();
        let start = Instant::now();
        let got: Vec<_> = generation.by_ref().map(|token| token.unwrap().id).collect();
        fast += start.elapsed().as_secs_f64();
        same += usize::from(got == expected);
        let report = generation.report().unwrap();
        accepted += report.accepted;
        judged += report.judged;
        tokens += report.tokens;
        passes += report.blocks + report.plain_steps;
    }
    println!(
        "\nspeculation: plain {plain:.1} s, speculative {fast:.1} s, speed-up {:.2}, accepted {:.1} %, {:.2} tokens a pass, \
         {same} of {texts} texts the same",
        plain / fast,
        100.0 * accepted as f64 / judged.max(1) as f64,
        tokens as f64 / passes.max(1) as f64,
    );
}

fn load(folder: &Path, nn: &TorchNn, vocab: Option<&Vocab>, adapter: Option<&Path>) -> Source<Torch> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let adapters: Vec<_> =
        adapter.iter().map(|folder| Adapter::open(folder).unwrap().named("random")).collect();
    let vocab = vocab.cloned().map(Into::into);
    Source::new(DecoderEngine::with_adapters(nn.clone(), &checkpoint, &adapters, vocab).unwrap())
}

/// An adapter of rank 8 for all linear layers of attention.
fn random_adapter(base: &Path) -> tempfile::TempDir {
    let spec = Checkpoint::open(base).unwrap().spec().clone();
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 16}"#;
    std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
    let changed = spec.linears().into_iter().filter(|linear| linear.name.contains("self_attn"));
    let tensors = changed.flat_map(|linear| {
        let part = |part: &str, shape: [usize; 2]| {
            let numbers = (0..shape[0] * shape[1]).map(|i| ((i * 2_654_435_761) % 2001) as f32 / 1e5 - 0.01);
            let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            (format!("base_model.model.{}.{part}.weight", linear.name), shape.to_vec(), bytes)
        };
        [part("lora_A", [8, linear.inputs]), part("lora_B", [linear.outputs, 8])]
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("adapter_model.safetensors")).unwrap();
    folder
}

fn ids(count: usize) -> Vec<TokenId> {
    (0..count as TokenId).map(|i| (7 * i * i + 3) % 3000 + 10).collect()
}

/// The seconds of `count` passes over `new` tokens after `past` others, with all new tokens scored.
fn pass(model: &Source<Torch>, past: usize, new: usize, count: usize) -> Vec<f64> {
    let tokens = ids(past + new);
    let mut session = (past > 0).then(|| model.open(&[Prompt::from(&tokens[..past])]).unwrap().0);
    let pass = |_| {
        let start = Instant::now();
        match &mut session {
            None => drop(model.open(&[Prompt::from(&tokens)]).unwrap()),
            Some(session) => drop(session.extend(&[RowFeed::all(tokens[past..].to_vec())]).unwrap()),
        }
        let seconds = start.elapsed().as_secs_f64();
        session.iter_mut().for_each(|session| session.rollback(&[new]).unwrap());
        seconds
    };
    (0..count).map(pass).collect()
}

/// The seconds of each greedy step.
fn steps(source: &Source<Torch>) -> Vec<f64> {
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(STEPS + 1);
    let mut generation = source.generate(ids(PROMPT), decoding).unwrap();
    drop(generation.next());
    let step = |_| {
        let start = Instant::now();
        generation.next().unwrap().unwrap();
        start.elapsed().as_secs_f64()
    };
    (0..STEPS).map(step).collect()
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The Python process, which answers each line with a line.
struct Python {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn start(kind: &str, threads: i32, folders: &[&Path]) -> Option<Self> {
        let Some(python) = std::env::var_os("EFT_PYTHON") else {
            println!("eager PyTorch skipped: EFT_PYTHON is not set");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/eager.py");
        let mut child = Command::new(python)
            .args([script, kind, &threads.to_string()])
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut ready = String::new();
        from.read_line(&mut ready).unwrap();
        println!("eager: {}", ready.trim());
        Some(Self { child, to, from })
    }

    /// The seconds that a request is answered with.
    fn line(&mut self, request: &str) -> Vec<f64> {
        writeln!(self.to, "{request}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        // PyTorch's threads spin for a while after their work.
        std::thread::sleep(Duration::from_millis(20));
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    fn pass(&mut self, past: usize, new: usize, count: usize) -> Vec<f64> {
        let wanted = if past > 0 { new } else { 1 };
        self.line(&format!("pass {past} {new} {wanted} 1 {count}"))
    }

    fn steps(&mut self, prompt: usize, count: usize) -> Vec<f64> {
        self.line(&format!("open {prompt}"));
        self.line(&format!("step {count}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
