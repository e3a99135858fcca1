//! One model alone: passes, contexts and batches.
use std::path::Path;

use crate::contestants::{self, Contestant};
use crate::passes::Pass;
use crate::report::{Record, Report};
use crate::{Options, Part, load};

/// The tokens before those that are measured.
const PAST: usize = 64;

pub(crate) fn compare(folder: &Path, model: &str, options: &Options, report: &mut Report) {
    if options.has(Part::Load) {
        load::compare(folder, model, options, report);
    }
    let measured = measurements(options);
    if measured.is_empty() {
        return;
    }
    let mut contestants = contestants::of(folder, model, options, report);
    report.heading(&format!("{model}: forward passes"));
    for (name, pass) in measured {
        measure(model, &name, &pass, &mut contestants, report);
    }
    println!();
    report.compare_types(model);
}

/// The names of the passes, and the passes.
fn measurements(options: &Options) -> Vec<(String, Pass)> {
    let mut all = Vec::new();
    let upto = |quick: usize, full: usize| move |n: &usize| *n <= if options.quick { quick } else { full };
    if options.has(Part::Passes) {
        for prompt in [64, 128, 1000, 4000].into_iter().filter(upto(1000, 4000)) {
            all.push((format!("prompt of {prompt}"), Pass::new(0, prompt, 1, 1)));
        }
        for (new, count) in [(1, 12), (4, 4), (8, 4)] {
            let tokens = if new == 1 { "1 token".into() } else { format!("{new} tokens, all scored") };
            all.push((tokens, Pass::new(PAST, new, new, count)));
        }
    }
    if options.has(Part::Contexts) {
        for context in [128, 256, 512, 1024, 2048, 4096].into_iter().filter(upto(512, 4096)) {
            all.push((format!("1 token after {context}"), Pass::new(context, 1, 1, 4)));
        }
    }
    if options.has(Part::Batches) {
        for rows in
            [1, 2, 4, 8, 16, 32].into_iter().filter(|rows| !options.quick || [1, 4, 16].contains(rows))
        {
            all.push((format!("1 token in each of {rows} rows"), Pass { rows, ..Pass::new(PAST, 1, 1, 4) }));
        }
    }
    all
}

/// Measures one pass with all programs that enter, in rounds.
fn measure(model: &str, name: &str, pass: &Pass, contestants: &mut [Contestant], report: &mut Report) {
    let mut times = vec![Vec::new(); contestants.len()];
    let mut spent = vec![0.0; contestants.len()];
    let (rounds, budget) = report.effort();
    for round in 0..=rounds {
        for (at, contestant) in contestants.iter_mut().enumerate() {
            if !contestant.enters(pass) || spent[at] > budget {
                continue;
            }
            match contestant.runner.run(pass) {
                Ok(seconds) => {
                    spent[at] += seconds.iter().sum::<f64>();
                    // The first round warms up, unless there is no time for another.
                    if round > 0 || spent[at] > budget {
                        times[at].extend(seconds);
                    }
                }
                Err(why) => {
                    report.skip(format!(
                        "{model}, {name}, {} ({}): {why}",
                        contestant.program, contestant.weights
                    ));
                    spent[at] = f64::INFINITY;
                }
            }
        }
    }
    // Only a pass of one token reads nothing but the weights.
    let weights_only = pass.new == 1 && pass.rows == 1 && pass.past == PAST;
    let records =
        contestants.iter().zip(times).filter(|(_, times)| !times.is_empty()).map(|(contestant, seconds)| {
            let record = Record::new(model, name, contestant.weights, contestant.program, seconds);
            let same = |other: &&Contestant| other.weights == contestant.weights && other.program == "candle";
            // A program of others reads at least as many bytes.
            let bytes = contestant.bytes.or_else(|| contestants.iter().find(same)?.bytes);
            record.reading(bytes.filter(|_| weights_only))
        });
    report.add(records.collect());
}
