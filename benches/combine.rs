//! Measures one combination step, from three score rows as wide as a real vocabulary to one token, and compares it with
//! eager PyTorch and with a plain sum of the rows.
//!
//! Rounds of all programs under comparison alternate, and medians are compared. PyTorch takes part if `EFT_PYTHON`
//! names an interpreter with torch and transformers. Both sides use `RAYON_NUM_THREADS` threads, by default one for
//! each core.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use eft_core::host::HostTensor;
use eft_core::{Backend, Host, Pick, Sampling, ScoreRow, Term};

const WIDTH: usize = 151_936;
/// A base, a tuned and an untuned model.
const TERMS: usize = 3;
const ROUNDS: usize = 40;
/// The number of steps of one contestant in a round, after one step to warm up.
const STEPS: usize = 5;

fn main() {
    let tensor = Host.upload(&rows(WIDTH, TERMS), WIDTH).unwrap();
    let nucleus = nucleus(&combined(&tensor, TERMS, 1, WIDTH), 1, WIDTH);
    let kept = Host.download(&[ScoreRow::new(&nucleus, 0)], WIDTH).unwrap();
    println!(
        "3 rows of {WIDTH}, {} threads, nucleus of {}",
        threads(),
        kept.iter().filter(|x| x.is_finite()).count()
    );
    compare(&tensor);
    println!("\nentries  terms  rows   greedy, µs  top-p, µs  greedy, ns for 1,000 entries of a term");
    for width in [1_000, 4_000, 16_000, 64_000, 128_000, 262_144] {
        scaling(width, 3, 1);
    }
    for terms in [2, 4, 6, 8] {
        scaling(WIDTH, terms, 1);
    }
    for rows in [1, 2, 4, 8, 16, 32] {
        scaling(WIDTH, 3, rows);
    }
}

/// Rows of logits: equal up to noise, normally distributed with a standard deviation of 2.5, except for a hundred tokens that
/// fit the context.
fn rows(width: usize, count: usize) -> Vec<f32> {
    let uniform = |stream: u64, i: usize| {
        let mut x =
            (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 11) as f64 / (1u64 << 53) as f64
    };
    let normal = |stream, i| {
        let (u, v) = (1.0 - uniform(stream, i), uniform(stream + 1, i));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let fits = |i: usize| i % (width / 100) == 7;
    let shared = |i| if fits(i) { 14.0 + 1.2 * normal(0, i) } else { 2.4 * normal(2, i) };
    let model = |stream| (0..width).map(move |i| (shared(i) + 0.5 * normal(stream, i)) as f32);
    (0..count as u64).map(|row| 4 + 2 * row).flat_map(model).collect()
}

/// Adds up the terms, whose rows of scores follow one another: the rows of the first, then those of the second, which is added, of
/// the third, which is subtracted, and so on.
fn combined(tensor: &HostTensor, terms: usize, rows: usize, width: usize) -> HostTensor {
    let term = |term: usize| Term {
        weight: if term > 0 && term.is_multiple_of(2) { -1.0 } else { 1.0 },
        rows: (term * rows..(term + 1) * rows).map(|row| ScoreRow::new(tensor, row)).collect(),
    };
    let terms: Vec<_> = (0..terms).map(term).collect();
    Host.linear(&terms, width).unwrap()
}

fn nucleus(combined: &HostTensor, rows: usize, width: usize) -> HostTensor {
    let filter = Sampling::default().top_p(0.9).filter().unwrap();
    Host.filter(&refs(combined, rows), &filter, width).unwrap()
}

fn refs(tensor: &HostTensor, rows: usize) -> Vec<ScoreRow<'_, Host>> {
    (0..rows).map(|row| ScoreRow::new(tensor, row)).collect()
}

fn greedy(tensor: &HostTensor, terms: usize, rows: usize, width: usize) -> Pick {
    Host.argmax(&refs(&combined(tensor, terms, rows, width), rows), width).unwrap()[0]
}

fn top_p(tensor: &HostTensor, terms: usize, rows: usize, width: usize) -> Pick {
    let kept = nucleus(&combined(tensor, terms, rows, width), rows, width);
    Host.draw(&refs(&kept, rows), &vec![0.37; rows], width).unwrap()[0]
}

fn threads() -> usize {
    let set = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    set.unwrap_or_else(|| std::thread::available_parallelism().unwrap().get())
}

/// `base + tuned − untuned`, of some columns.
fn plain_sum(rows: &[f32], columns: Range<usize>) -> Vec<f32> {
    let [base, tuned, untuned] = [0, 1, 2].map(|row| &rows[row * WIDTH..][columns.clone()]);
    base.iter().zip(tuned).zip(untuned).map(|((a, b), c)| a + b - c).collect()
}

/// A thread that computes the second half of a plain sum.
struct Helper {
    rows: Arc<[f32]>,
    start: mpsc::Sender<()>,
    done: mpsc::Receiver<Vec<f32>>,
}

impl Helper {
    fn new(rows: Arc<[f32]>) -> Self {
        let ((start, started), (finish, done)) = (mpsc::channel(), mpsc::channel());
        let theirs = Arc::clone(&rows);
        std::thread::spawn(move || {
            while started.recv().is_ok() {
                finish.send(plain_sum(&theirs, WIDTH / 2..WIDTH)).unwrap();
            }
        });
        Self { rows, start, done }
    }

    fn sum(&self) -> (Vec<f32>, Vec<f32>) {
        self.start.send(()).unwrap();
        (plain_sum(&self.rows, 0..WIDTH / 2), self.done.recv().unwrap())
    }
}

/// The seconds of each contestant's steps.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<f64>>);

impl Times {
    fn measure<T>(&mut self, name: &'static str, mut step: impl FnMut() -> T) {
        std::hint::black_box(step());
        let times = self.0.entry(name).or_default();
        for _ in 0..STEPS {
            let start = Instant::now();
            std::hint::black_box(step());
            times.push(start.elapsed().as_secs_f64());
        }
    }

    fn median(&mut self, name: &str) -> Option<f64> {
        let times = self.0.get_mut(name)?;
        times.sort_by(f64::total_cmp);
        Some(times[times.len() / 2])
    }
}

fn compare(tensor: &HostTensor) {
    let rows: Arc<[f32]> = Host.download(&refs(tensor, 3), WIDTH).unwrap().into();
    let helper = Helper::new(Arc::clone(&rows));
    let mut eager = Eager::start(&rows);
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.measure("plain sum, 1 thread", || plain_sum(&rows, 0..WIDTH));
        times.measure("plain sum, 2 threads", || helper.sum());
        times.measure("combine", || combined(tensor, TERMS, 1, WIDTH));
        times.measure("combine + greedy", || greedy(tensor, TERMS, 1, WIDTH));
        times.measure("combine + top-p + draw", || top_p(tensor, TERMS, 1, WIDTH));
        if let Some(eager) = &mut eager {
            let token = eager.measure("greedy", times.0.entry("eager combine + greedy").or_default());
            assert_eq!(token, greedy(tensor, TERMS, 1, WIDTH).token, "the two sides disagree");
            eager.measure("top_p", times.0.entry("eager combine + top-p + draw").or_default());
        }
    }
    let names = [
        ("plain sum, 1 thread", ""),
        ("plain sum, 2 threads", ""),
        ("combine", ""),
        ("combine + greedy", "eager combine + greedy"),
        ("combine + top-p + draw", "eager combine + top-p + draw"),
    ];
    let sums = ["plain sum, 1 thread", "plain sum, 2 threads"].map(|name| times.median(name).unwrap());
    println!(
        "\nmedian                        µs   ÷ sum, 1 thread   ÷ sum, 2 threads   eager µs   eager ÷ ours"
    );
    for (name, eager) in names {
        let ours = times.median(name).unwrap();
        print!("{name:24} {:7.1} {:17.2} {:18.2}", 1e6 * ours, ours / sums[0], ours / sums[1]);
        match times.median(eager) {
            Some(eager) => println!(" {:10.1} {:14.1}", 1e6 * eager, eager / ours),
            None => println!(),
        }
    }
}

/// Measures several rows of several terms.
fn scaling(width: usize, terms: usize, rows: usize) {
    let tensor = Host.upload(&self::rows(width, terms * rows), width).unwrap();
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.measure("greedy", || greedy(&tensor, terms, rows, width));
        times.measure("top-p", || top_p(&tensor, terms, rows, width));
    }
    let [greedy, top_p] = ["greedy", "top-p"].map(|name| 1e6 * times.median(name).unwrap());
    let each = 1e6 * greedy / (width * terms * rows) as f64;
    println!("{width:7} {terms:6} {rows:5} {greedy:12.1} {top_p:10.1} {each:12.0}");
}

/// The Python process. For each measurement, one line is written to it and one is read from it.
struct Eager {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    rows: std::path::PathBuf,
}

impl Eager {
    fn start(rows: &[f32]) -> Option<Self> {
        let Some(python) = std::env::var_os("EFT_PYTHON") else {
            println!("eager PyTorch skipped: EFT_PYTHON is not set");
            return None;
        };
        let path = std::env::temp_dir().join(format!("combine-{}.f32", std::process::id()));
        std::fs::write(&path, rows.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/combine_eager.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(&path)
            .args([WIDTH.to_string(), threads().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut eager = Self { child, to, from, rows: path };
        println!("eager PyTorch: {}", eager.line().trim());
        Some(eager)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line
    }

    /// Appends the times of the steps to `times`, and returns the token of the last step.
    fn measure(&mut self, name: &str, times: &mut Vec<f64>) -> u32 {
        writeln!(self.to, "{name} {}", STEPS + 1).unwrap();
        let line = self.line();
        let mut words = line.split_whitespace();
        let token = words.next().unwrap().parse().unwrap();
        times.extend(words.skip(1).map(|seconds| seconds.parse::<f64>().unwrap()));
        // Its threads keep spinning for a while after their work.
        std::thread::sleep(Duration::from_millis(20));
        token
    }
}

impl Drop for Eager {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_file(&self.rows));
    }
}
