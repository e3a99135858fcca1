//! The decoding step of a real model against a hand-written IoBinding loop in Python; and the step of three combined
//! models against those of the models alone.
//!
//! `EFT_ORT_MODEL` names the model (see `goldens/export.py`), `EFT_PYTHON` an interpreter with onnxruntime,
//! `ORT_DYLIB_PATH` the same library, `EFT_THREADS` the number of threads on both sides (default 2). Rounds alternate
//! between the contestants, and medians are compared.
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use eft_backend_ort::{Options, Ort, load};
use eft_core::{Backend, Decoding, LogitSource, Prompt, RowFeed, Sampling, Session, Source, TokenId};

const CONTEXTS: [usize; 3] = [64, 256, 1024];
const ROUNDS: usize = 5;
const STEPS: usize = 8;

fn main() {
    let Some(file) = std::env::var_os("EFT_ORT_MODEL") else {
        println!("skipped: EFT_ORT_MODEL names no model");
        return;
    };
    let threads = std::env::var("EFT_THREADS").map_or(2, |threads| threads.parse().unwrap());
    let ort = Ort::new(&Options::default().threads(threads)).unwrap();
    let source = load(&file, &ort, None).unwrap();
    let mut python = Python::start(&file, threads);
    println!("{threads} threads\n\ncontext   ours, ms   Python, ms   Python ÷ ours   with sampling, ms");
    for context in CONTEXTS {
        let (mut ours, mut theirs, mut sampled) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut text = Text::open(&source, context);
            let expected = text.token;
            ours.extend((0..STEPS).map(|_| text.step()));
            sampled.extend((0..STEPS).map(|_| text.sample()));
            if let Some(python) = &mut python {
                assert_eq!(python.line(&format!("open {context}")).0, expected, "the two sides disagree");
                theirs.extend(python.line(&format!("step {STEPS}")).1);
            }
        }
        let [ours, theirs, sampled] = [ours, theirs, sampled].map(|seconds| 1e3 * median(seconds));
        println!("{context:7} {ours:10.2} {theirs:12.2} {:15.3} {sampled:19.2}", theirs / ours);
    }
    let vocab = (**source.vocab()).clone();
    let model = || load(&file, &ort, Some(vocab.clone())).unwrap();
    trio([&source, &model(), &model()]);
}

/// A text that is being generated.
struct Text<'a> {
    ort: &'a Ort,
    session: Box<dyn Session<Backend = Ort>>,
    width: usize,
    token: TokenId,
}

impl<'a> Text<'a> {
    fn open(source: &'a Source<Ort>, context: usize) -> Self {
        let prompt: Vec<_> = (0..context as TokenId).map(|i| 3 + i % 7).collect();
        let (session, scores) = source.open(&[Prompt::from(&prompt)]).unwrap();
        let (ort, width) = (source.backend(), scores.width());
        let token = ort.argmax(&scores.last().unwrap(), width).unwrap()[0].token;
        Self { ort, session, width, token }
    }

    /// Takes a greedy step, and returns its seconds.
    fn step(&mut self) -> f64 {
        let start = Instant::now();
        let scores = self.session.extend(&[RowFeed::one(self.token)]).unwrap();
        self.token = self.ort.argmax(&scores.last().unwrap(), self.width).unwrap()[0].token;
        start.elapsed().as_secs_f64()
    }

    /// Seconds of a step that draws from a nucleus.
    fn sample(&mut self) -> f64 {
        let start = Instant::now();
        let scores = self.session.extend(&[RowFeed::one(self.token)]).unwrap();
        let filter = eft_core::Filter { top_p: Some(0.9), ..eft_core::Filter::default() };
        let kept = self.ort.filter(&scores.last().unwrap(), &filter, self.width).unwrap();
        self.token =
            self.ort.draw(&[eft_core::ScoreRow::new(&kept, 0)], &[0.5], self.width).unwrap()[0].token;
        start.elapsed().as_secs_f64()
    }
}

/// Compares the step of three combined models of the same size with the sum of the steps of the single models.
fn trio(models: [&Source<Ort>; 3]) {
    let [large, tuned, untuned] = models;
    let combined = large + 0.7 * (tuned - untuned);
    let (mut alone, mut together) = ([const { Vec::new() }; 3], Vec::new());
    for _ in 0..ROUNDS {
        let mut texts = models.map(|model| Text::open(model, 64));
        for _ in 0..STEPS {
            for (text, alone) in texts.iter_mut().zip(&mut alone) {
                let start = Instant::now();
                drop(text.session.extend(&[RowFeed::one(text.token)]).unwrap());
                alone.push(start.elapsed().as_secs_f64());
            }
        }
        let prompt: Vec<TokenId> = (0..64).map(|i| 3 + i % 7).collect();
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(STEPS + 1);
        let mut generation = combined.generate(prompt, decoding).unwrap();
        drop(generation.next());
        for _ in 0..STEPS {
            let start = Instant::now();
            drop(generation.next().unwrap().unwrap());
            together.push(start.elapsed().as_secs_f64());
        }
    }
    let alone: f64 = alone.map(median).iter().sum();
    let together = median(together);
    println!(
        "\nthree models combined {:.2} ms, alone {:.2} ms: ratio {:.3}",
        1e3 * together,
        1e3 * alone,
        together / alone
    );
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The Python process, which answers each line with a line.
struct Python {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn start(file: &std::ffi::OsStr, threads: usize) -> Option<Self> {
        let Some(python) = std::env::var_os("EFT_PYTHON") else {
            println!("Python skipped: EFT_PYTHON is not set");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/decode.py");
        let mut child = Command::new(python)
            .args([std::ffi::OsStr::new(script), file])
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut ready = String::new();
        from.read_line(&mut ready).unwrap();
        println!("onnxruntime in Python: {}", ready.trim());
        Some(Self { child, to, from })
    }

    /// The token and the seconds that a request is answered with.
    fn line(&mut self, request: &str) -> (TokenId, Vec<f64>) {
        writeln!(self.to, "{request}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        // Python's threads spin for a while after their work.
        std::thread::sleep(Duration::from_millis(20));
        let mut words = line.split_whitespace();
        let token = words.next().unwrap().parse().unwrap();
        (token, words.map(|seconds| seconds.parse().unwrap()).collect())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
