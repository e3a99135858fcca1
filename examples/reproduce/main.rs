//! Results of the papers in miniature: eight tables on the models of the zoo, each with intervals and with what the paper
//! reports.
//!
//! ```sh
//! cargo run --release --example reproduce                  # prints the tables, and writes target/reproduce.html
//! cargo run --release --example reproduce -- --only 7      # one table
//! ```
//!
//! The numbers of the tables are the same in every run on one machine; only the times in the notes differ.
mod answers;
mod black_box;
mod changed;
mod chart;
mod decoupled;
#[macro_use]
#[path = "../common/exit.rs"]
mod exit;
mod filtering;
mod gap;
mod mixing;
mod models;
mod newcomers;
mod page;
mod search;
mod section;
mod speculative;
mod superficial;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::ProgressBar;

use models::Models;
use section::Section;

/// Reproduces the papers' results on tiny models.
#[derive(Parser)]
struct Args {
    /// The tables to make, by their numbers; by default all
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=8))]
    only: Vec<u8>,
    /// The file that the report is written to
    #[arg(long, value_name = "FILE", default_value_os_t = default_output())]
    output: PathBuf,
}

fn default_output() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "target", "reproduce.html"].iter().collect()
}

/// Makes a table.
type Experiment = fn(&Models) -> Result<Section>;

const EXPERIMENTS: [Experiment; 8] = [
    decoupled::run,
    gap::run,
    black_box::run,
    mixing::run,
    speculative::run,
    filtering::run,
    search::run,
    superficial::run,
];

fn main() -> ExitCode {
    exit::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let models = Models::load().context("cannot load the models of the zoo")?;
    let chosen =
        (1..).zip(EXPERIMENTS).filter(|(number, _)| args.only.is_empty() || args.only.contains(number));
    let chosen: Vec<_> = chosen.collect();
    let progress = ProgressBar::new(chosen.len() as u64);
    let mut sections = Vec::new();
    for (number, experiment) in chosen {
        let section = experiment(&models).with_context(|| format!("table {number}"))?;
        progress.suspend(|| writeln!(stdout(), "{number}. {section}"))?;
        progress.inc(1);
        sections.push((number, section));
    }
    progress.finish_and_clear();
    if let Some(folder) = args.output.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(&args.output, page::page(&sections)?)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    say!("{} ({:.0} s)", args.output.display(), start.elapsed().as_secs_f64());
    Ok(())
}
