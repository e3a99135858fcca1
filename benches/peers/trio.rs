//! The step of emulated fine-tuning, `1.5B + (0.5B − 0.5B)`: ours, the proxy-tuning loop in eager transformers, and the
//! sum of llama.cpp's steps of the three models, which is the least that a combination by it could take.
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use eft::candle::{Candle, CandleNn, Gguf};
use eft::models::{Adapter, DecoderEngine, Nn, Weights};
use eft::{Backend, Decoding, Sampling, Source, Vocab};

use crate::Options;
use crate::contestants::{Runner, start};
use crate::passes::adapter::adapter;
use crate::passes::{Pass, by_candle, ids};
use crate::report::{Record, Report};
use crate::theirs::{Theirs, numbers, threads};

const LARGE: &str = "qwen-1.5b";
const SMALL: &str = "qwen-0.5b";
const MODEL: &str = "qwen-1.5b + (qwen-0.5b - qwen-0.5b)";
const PROMPT: usize = 64;

/// Takes steps, and returns the seconds of each.
type Steps = Box<dyn FnMut(usize) -> Result<Vec<f64>, String>>;

pub(crate) fn steps(folder: &Path, options: &Options, report: &mut Report) {
    report.heading(&format!("{MODEL}: steps of one token"));
    let mut contestants = of_gguf(folder, report);
    contestants.extend(of_folders(folder, report));
    let (rounds, budget) = report.effort();
    let count = if options.quick { 4 } else { 8 };
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (at, (weights, program, steps)) in contestants.iter_mut().enumerate() {
            if times[at].iter().sum::<f64>() > budget {
                continue;
            }
            match steps(count) {
                Ok(seconds) if round > 0 || seconds.iter().sum::<f64>() > budget => times[at].extend(seconds),
                Ok(_) => {}
                Err(why) => {
                    report.skip(format!("{MODEL}, {program} ({weights}): {why}"));
                }
            }
        }
    }
    let records = contestants.iter().zip(times).filter(|(_, times)| !times.is_empty());
    let record = |((weights, program, _), times): (&(&str, &str, Steps), Vec<f64>)| {
        Record::new(MODEL, "a step", weights, program, times)
    };
    report.add(records.map(record).collect());
}

fn of_gguf(folder: &Path, report: &mut Report) -> Vec<(&'static str, &'static str, Steps)> {
    const WEIGHTS: &str = "GGUF";
    let [large, small] = [LARGE, SMALL].map(|name| folder.join(format!("{name}.gguf")));
    if let Some(missing) = [&large, &small].into_iter().find(|file| !file.exists()) {
        report.skip(format!("{MODEL}: {} does not exist", missing.display()));
        return Vec::new();
    }
    let nn = CandleNn::new(Candle::cpu());
    let open = |file: &Path| Gguf::open(file).unwrap();
    let [apart, paired] = combinations(&nn, &open(&large), &open(&small));
    let mut all: Vec<(&'static str, &'static str, Steps)> = vec![
        (WEIGHTS, "candle", Box::new(move |count| generate(&apart, count))),
        (
            WEIGHTS,
            "candle, the pair as one model and an adapter",
            Box::new(move |count| generate(&paired, count)),
        ),
    ];
    // What a step takes beside its passes is the difference from this.
    let [first, second] = [&large, &small].map(|file| by_candle(file));
    all.push((WEIGHTS, "candle, the sum of its three passes", sum_of(first, second)));
    let threads = threads().to_string();
    let [first, second] = [&large, &small].map(|file| {
        let arguments = [file.as_os_str(), OsStr::new(&threads)];
        start("llama.cpp", "EFT_LLAMA_PYTHON", "llama_cpp.py", &arguments, report)
    });
    if let (Some(first), Some(second)) = (first, second) {
        all.push((WEIGHTS, "llama.cpp, the sum of its three passes", sum_of(first, second)));
    }
    all
}

fn of_folders(folder: &Path, report: &mut Report) -> Vec<(&'static str, &'static str, Steps)> {
    const WEIGHTS: &str = "bfloat16";
    let [large, small] = [LARGE, SMALL].map(|name| folder.join(format!("{name}-{WEIGHTS}")));
    if let Some(missing) = [&large, &small].into_iter().find(|folder| !folder.exists()) {
        report.skip(format!("{MODEL} in {WEIGHTS}: {} does not exist", missing.display()));
        return Vec::new();
    }
    let mut all: Vec<(&'static str, &'static str, Steps)> = Vec::new();
    let open = |folder: &Path| eft::models::Checkpoint::open(folder).unwrap();
    let [apart, _] = combinations(&CandleNn::new(Candle::cpu()), &open(&large), &open(&small));
    all.push((WEIGHTS, "candle", Box::new(move |count| generate(&apart, count))));
    #[cfg(feature = "tch")]
    {
        let nn = crate::contestants::torch(WEIGHTS);
        let [apart, paired] = combinations(&nn, &open(&large), &open(&small));
        all.push((WEIGHTS, "libtorch", Box::new(move |count| generate(&apart, count))));
        let pair = "libtorch, the pair as one model and an adapter";
        all.push((WEIGHTS, pair, Box::new(move |count| generate(&paired, count))));
    }
    let threads = threads().to_string();
    let arguments =
        [OsStr::new(WEIGHTS), OsStr::new(&threads), large.as_os_str(), small.as_os_str(), small.as_os_str()];
    if let Some(theirs) = start("transformers, proxy-tuning", "EFT_PYTHON", "eager.py", &arguments, report) {
        all.push((WEIGHTS, "transformers, proxy-tuning", proxy_tuning(theirs)));
    }
    all
}

/// The combination with three models, and the one whose small models are one model with and without an adapter.
fn combinations<N: Nn>(nn: &N, large: &dyn Weights, small: &dyn Weights) -> [Source<N::Backend>; 2] {
    let vocab = Arc::new(Vocab::anonymous("both", large.spec().vocab).unwrap());
    let load = |weights: &dyn Weights, adapters: &[Adapter]| {
        Source::new(DecoderEngine::with_adapters(nn.clone(), weights, adapters, Some(vocab.clone())).unwrap())
    };
    let folder = adapter(small);
    let tuned = Adapter::open(folder.path()).unwrap().named("tuned");
    let base = load(large, &[]);
    let apart = &base + 0.9 * (&load(small, &[]).named("tuned") - &load(small, &[]));
    let shared = load(small, &[tuned]);
    [apart, &base + 0.9 * (shared.adapter("tuned").unwrap() - &shared)]
}

/// Takes greedy steps after a prompt.
fn generate<B: Backend>(source: &Source<B>, count: usize) -> Result<Vec<f64>, String> {
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(count + 1);
    let mut text = source.generate(ids(0, PROMPT), decoding).map_err(|error| error.to_string())?;
    let mut step = || {
        let start = Instant::now();
        let token = text.next().ok_or("the text ended")?;
        token.map_err(|error| error.to_string())?;
        Ok(start.elapsed().as_secs_f64())
    };
    // The first token needs no pass but that over the prompt.
    step()?;
    (0..count).map(|_| step()).collect()
}

/// One pass of the large model and two of the small one, in turn.
fn sum_of(mut large: impl Runner + 'static, mut small: impl Runner + 'static) -> Steps {
    let pass = Pass::new(PROMPT, 1, 1, 1);
    Box::new(move |count| {
        let mut step = || Ok(large.run(&pass)?[0] + small.run(&pass)?[0] + small.run(&pass)?[0]);
        (0..count).map(|_| step()).collect()
    })
}

fn proxy_tuning(mut theirs: Theirs) -> Steps {
    Box::new(move |count| {
        let ended = "the program ended";
        theirs.try_ask(&format!("open {PROMPT}")).ok_or(ended)?;
        Ok(numbers(&theirs.try_ask(&format!("step {count}")).ok_or(ended)?))
    })
}
