//! Measures a sweep: up-scaling under nine values of α, generated together, compared with one value and with the nine
//! values one by one. The models and the questions are those of the zoo, run by candle.
//!
//! Rounds of all programs alternate, and medians are compared. The texts of the sweep must be those of the values alone.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::time::Instant;

use eft::candle::Candle;
use eft::{Decoding, Loader, Prompt, Sampling, Source};
use eft_eval::sweep::Sweep;

const ROUNDS: usize = 7;
const ALPHAS: [f32; 9] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];

/// The index of α = 1.
const ONE: usize = 4;

fn main() {
    let [large, tuned, small] = ["base-large", "tuned-small", "base-small"].map(|name| {
        let folder = format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"));
        Loader::new(folder).load().unwrap()
    });
    let sources = ALPHAS.map(|alpha| &large + alpha * (&tuned - &small));
    println!("kind      limit  batch  one, s  mean, s  nine, s  sweep, s  over one  over mean  rows a text");
    for (kind, limit, batch) in [("short", 40, 260), ("short", 40, 64), ("short", 200, 260), ("long", 40, 65)]
    {
        measure(&sources, kind, limit, batch);
    }
}

fn questions(kind: &str) -> Vec<Prompt> {
    let file = format!("{}/zoo/questions/test-{kind}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(file).unwrap();
    let prompts = lines.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Prompt::chat(line["question"].as_str().unwrap())
    });
    prompts.collect()
}

fn measure(sources: &[Source<Candle>], kind: &str, limit: usize, batch: usize) {
    let prompts = questions(kind);
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(limit);
    let sweep = Sweep::over(0..sources.len(), &decoding, |index| sources[*index].clone()).batch(batch);
    let alone = |source: &Source<Candle>| -> Vec<String> {
        let batches = prompts.chunks(batch);
        let texts = batches.flat_map(|prompts| {
            let batch = source.generate_batch(prompts.iter().cloned(), &decoding).unwrap();
            batch.text().unwrap().read().into_iter().map(Result::unwrap)
        });
        texts.collect()
    };

    let mut of_values = vec![Vec::new(); sources.len()];
    let (mut of_sweep, mut rows) = (Vec::new(), 0.0);
    for round in 0..=ROUNDS {
        let mut expected = Vec::new();
        for (source, times) in sources.iter().zip(&mut of_values) {
            let start = Instant::now();
            expected.push(alone(source));
            times.push(start.elapsed().as_secs_f64());
        }
        let start = Instant::now();
        let swept = sweep.run(prompts.iter().cloned()).unwrap();
        of_sweep.push(start.elapsed().as_secs_f64());

        let texts = swept.texts.into_iter().map(|texts| texts.into_iter().map(|text| text.unwrap().text));
        assert!(texts.map(Iterator::collect::<Vec<_>>).eq(expected), "the texts differ");
        rows = swept.work.row_steps as f64 / swept.work.text_steps as f64;
        if round == 0 {
            // The first round warms up.
            of_values.iter_mut().chain([&mut of_sweep]).for_each(Vec::clear);
        }
    }
    let of_values: Vec<_> = of_values.into_iter().map(median).collect();
    let (one, sum, together) = (of_values[ONE], of_values.iter().sum::<f64>(), median(of_sweep));
    let mean = sum / of_values.len() as f64;
    let (over_one, over_mean) = (together / one, together / mean);
    println!(
        "{kind:8} {limit:6} {batch:6} {one:7.3} {mean:8.3} {sum:8.3} {together:9.3} {over_one:9.2} {over_mean:10.2} {rows:12.3}"
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
