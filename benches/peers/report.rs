//! The results: tables as they come, and a file of JSON.
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::theirs::{median, threads};

/// The measurements of one program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) model: String,
    pub(crate) measured: String,
    pub(crate) weights: String,
    pub(crate) program: String,
    /// The median of `seconds`.
    pub(crate) median: f64,
    /// The time of each pass, step or token.
    pub(crate) seconds: Vec<f64>,
    /// The median over that of candle, or of our first program, with the same weights.
    pub(crate) over_ours: Option<f64>,
    /// The bytes of weights that a pass reads.
    pub(crate) bytes: Option<u64>,
    pub(crate) bytes_per_second: Option<f64>,
    /// That speed over the speed of a plain read of the same files.
    pub(crate) of_plain_read: Option<f64>,
    /// The largest resident size, and the size of the files.
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) file_bytes: Option<u64>,
    /// The share of drafted tokens that were accepted.
    pub(crate) accepted: Option<f64>,
}

impl Record {
    pub(crate) fn new(
        model: &str,
        measured: &str,
        weights: &str,
        program: &str,
        mut seconds: Vec<f64>,
    ) -> Self {
        Self {
            model: model.into(),
            measured: measured.into(),
            weights: weights.into(),
            program: program.into(),
            median: median(&mut seconds),
            seconds,
            over_ours: None,
            bytes: None,
            bytes_per_second: None,
            of_plain_read: None,
            peak_bytes: None,
            file_bytes: None,
            accepted: None,
        }
    }

    pub(crate) fn reading(mut self, bytes: Option<u64>) -> Self {
        self.bytes = bytes;
        self.bytes_per_second = bytes.map(|bytes| bytes as f64 / self.median);
        self
    }

    pub(crate) fn memory(self, peak_bytes: Option<u64>, files: u64) -> Self {
        Self { peak_bytes, file_bytes: Some(files), ..self }
    }
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    instructions: Vec<&'static str>,
    threads: usize,
    commit: String,
    unix_seconds: u64,
    quick: bool,
}

/// All results so far.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    records: Vec<Record>,
    skipped: Vec<String>,
    #[serde(skip)]
    json: PathBuf,
}

impl Report {
    pub(crate) fn new(quick: bool, json: PathBuf) -> Self {
        let machine = Machine::here(quick);
        println!("{}, {}, {} threads", machine.processor, machine.instructions.join(" "), machine.threads);
        Self { machine, records: Vec::new(), skipped: Vec::new(), json }
    }

    /// The number of rounds after the one that warms up, and the seconds after which a program gets no more of them.
    pub(crate) fn effort(&self) -> (usize, f64) {
        if self.machine.quick { (2, 5.0) } else { (5, 60.0) }
    }

    /// Where the messages of other programs go.
    pub(crate) fn log_name(&self) -> String {
        self.json.with_extension("log").display().to_string()
    }

    pub(crate) fn log(&self) -> Stdio {
        let file = File::options().append(true).create(true).open(self.log_name());
        file.map_or_else(|_| Stdio::null(), Stdio::from)
    }

    /// Notes and prints that something is not measured.
    pub(crate) fn skip(&mut self, what: String) {
        if !self.skipped.contains(&what) {
            println!("SKIPPED {what}");
            self.skipped.push(what);
        }
    }

    pub(crate) fn heading(&mut self, title: &str) {
        println!("\n## {title}\n");
    }

    /// Adds the results of one measurement, and prints them. The first program of ours is what the others with the same
    /// weights are compared with.
    pub(crate) fn add(&mut self, mut records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let before = records.clone();
        let of = |record: &Record, programs: &[&str]| {
            let same =
                |other: &&Record| other.weights == record.weights && programs.contains(&&other.program[..]);
            before.iter().find(same).cloned()
        };
        for record in &mut records {
            let ours = before.iter().find(|other| other.weights == record.weights);
            record.over_ours = ours.map(|ours| record.median / ours.median);
            let read = of(record, &["plain read"]).and_then(|read| read.bytes_per_second);
            record.of_plain_read = record.bytes_per_second.zip(read).map(|(ours, read)| ours / read);
        }
        if self.records.last().is_none_or(|last| last.model != records[0].model || last.measured == "load") {
            println!("| measured | weights | program | median, ms | over ours | GB/s | of a plain read |");
            println!("| --- | --- | --- | ---: | ---: | ---: | ---: |");
        }
        for record in records {
            let number =
                |number: Option<f64>, digits| number.map_or(String::new(), |n| format!("{n:.digits$}"));
            println!(
                "| {} | {} | {} | {:.2} | {} | {} | {} |",
                record.measured,
                record.weights,
                record.program,
                1e3 * record.median,
                number(record.over_ours, 2),
                number(record.bytes_per_second.map(|speed| speed / 1e9), 1),
                number(record.of_plain_read, 2)
            );
            self.records.push(record);
        }
    }

    /// Prints the time of each program in bf16 over its time in f32.
    pub(crate) fn compare_types(&self, model: &str) {
        let of = |weights: &'static str| {
            self.records.iter().filter(move |record| record.model == model && record.weights == weights)
        };
        for half in
            of("bfloat16").filter(|record| record.measured != "load" && record.program != "plain read")
        {
            let same = |full: &&Record| full.measured == half.measured && full.program == half.program;
            if let Some(full) = of("float32").find(same) {
                let ratio = half.median / full.median;
                println!("{}, {}: bf16 takes {ratio:.2} of the time in f32", half.program, half.measured);
            }
        }
    }

    /// Adds a result that has been printed.
    pub(crate) fn keep(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(crate) fn write(&self) {
        std::fs::write(&self.json, serde_json::to_string_pretty(self).unwrap()).unwrap();
        println!("\nwritten to {}", self.json.display());
    }
}

impl Machine {
    fn here(quick: bool) -> Self {
        let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = about.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").unwrap_or_default();
        let flags: Vec<_> = flags.split(' ').collect();
        let known = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"];
        let commit = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
            .output();
        let commit = commit.map_or_else(|_| Vec::new(), |output| output.stdout);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            processor: field("model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            instructions: known.into_iter().filter(|name| flags.contains(name)).collect(),
            threads: threads(),
            commit: String::from_utf8_lossy(&commit).trim().into(),
            unix_seconds: now.map_or(0, |time| time.as_secs()),
            quick,
        }
    }
}
