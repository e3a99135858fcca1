//! Measures products with each kind of quantised weights, and compares them with llama.cpp's library ggml and with
//! reading the same bytes.
//!
//! `EFT_LLAMA_PYTHON` names an interpreter with `xllamacpp` and numpy, which also quantises the weights. Rounds of both
//! programs alternate, and medians are compared. Both use `RAYON_NUM_THREADS` threads, by default one for each core.
//! `EFT_KINDS=Q4K,Q6K` selects some of the kinds.
//!
//! The matrix has the shape of the largest of Qwen2.5 1.5B. Each pass multiplies with several copies of it, which are
//! together larger than a processor's cache, because a model is never in the cache either.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

use eft::candle::{Candle, CandleNn};
use eft::models::{Blocks, Dtype, Nn, RawTensor};
#[path = "passes/memory.rs"]
mod memory;
mod theirs;

use memory::sum;
use theirs::{Theirs, median, threads};

const ROUNDS: usize = 7;
const KINDS: [Blocks; 22] = [
    Blocks::Q4_0,
    Blocks::Q4_1,
    Blocks::Q5_0,
    Blocks::Q5_1,
    Blocks::Q8_0,
    Blocks::Q2K,
    Blocks::Q3K,
    Blocks::Q4K,
    Blocks::Q5K,
    Blocks::Q6K,
    Blocks::IQ1S,
    Blocks::IQ1M,
    Blocks::IQ2XXS,
    Blocks::IQ2XS,
    Blocks::IQ2S,
    Blocks::IQ3XXS,
    Blocks::IQ3S,
    Blocks::IQ4NL,
    Blocks::IQ4XS,
    Blocks::TQ1_0,
    Blocks::TQ2_0,
    Blocks::MXFP4,
];
/// Outputs and columns.
const SHAPES: [[usize; 2]; 2] = [[8960, 1536], [1536, 8960]];
/// The number of rows, and of copies of the weights that they are multiplied with.
const TOKENS: [(usize, usize); 3] = [(1, COPIES), (4, COPIES), (64, 2)];
const COPIES: usize = 12;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut theirs) = Theirs::start(
        "EFT_LLAMA_PYTHON",
        "products_ggml.py",
        &[folder.path().as_os_str(), OsStr::new(&threads().to_string())],
    ) else {
        return println!("skipped: EFT_LLAMA_PYTHON is not set");
    };
    println!("{} threads; ms for one matrix; GB/s of weights", threads());
    println!("kind  outputs × columns  tokens      ours      ggml  ggml/ours  GB/s   read");
    let chosen = std::env::var("EFT_KINDS").ok();
    for kind in KINDS {
        if chosen.as_ref().is_some_and(|chosen| chosen.split(',').all(|name| name != format!("{kind:?}"))) {
            continue;
        }
        for shape in SHAPES {
            measure(&mut theirs, folder.path(), kind, shape);
        }
    }
}

/// The seconds of a function after it has run before, as the other program measures itself too: threads that have slept for
/// milliseconds take long to wake.
fn warm(mut function: impl FnMut()) -> f64 {
    function();
    let start = Instant::now();
    function();
    start.elapsed().as_secs_f64()
}

/// Measures and prints the products with one matrix.
fn measure(theirs: &mut Theirs, folder: &Path, kind: Blocks, [outputs, columns]: [usize; 2]) {
    let layout = theirs.ask(&format!("weights {kind:?} {outputs} {columns} {COPIES}"));
    let bytes = std::fs::read(folder.join("weights")).unwrap().into();
    let dtype = Dtype::Quantised(kind);
    let all = RawTensor { name: "weights", shape: vec![COPIES * outputs, columns], dtype, bytes };
    let size = all.bytes.len() / COPIES;
    let nn = CandleNn::new(Candle::cpu());
    let copies: Vec<_> = (0..COPIES)
        .map(|i| {
            let bytes = all.bytes.slice(i * size..(i + 1) * size);
            let raw = RawTensor { name: "weights", shape: vec![outputs, columns], dtype, bytes };
            nn.load_linear(&raw, false, None).unwrap()
        })
        .collect();
    for (tokens, count) in TOKENS {
        let x: Vec<_> = (0..tokens * columns).map(|i| ((i * 7919) % 1009) as f32 / 500.0 - 1.0).collect();
        let x = nn.constant(&x, columns).unwrap();
        let (mut our, mut their, mut read) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let seconds = warm(|| {
                nn.pass(tokens * outputs * columns, || {
                    for copy in &copies[..count] {
                        std::hint::black_box(nn.linear(&x, copy).unwrap());
                    }
                });
            });
            let other = theirs.seconds(&format!("run {tokens} {count} 1"));
            let reading = warm(|| _ = std::hint::black_box(sum(&all.bytes[..count * size])));
            // The first round warms up.
            if round > 0 {
                our.push(seconds / count as f64);
                their.extend(other.iter().map(|seconds| seconds / count as f64));
                read.push(reading / count as f64);
            }
        }
        let [our, their, read] = [our, their, read].map(|mut times| median(&mut times));
        let speed = |seconds| size as f64 / seconds / 1e9;
        println!(
            "{:5} {outputs:8} × {columns:<8} {tokens:5} {:9.3} {:9.3} {:10.2} {:5.1} {:6.1}  {}",
            format!("{kind:?}"),
            1e3 * our,
            1e3 * their,
            their / our,
            speed(our),
            speed(read),
            layout.trim(),
        );
    }
}
