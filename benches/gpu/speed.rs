//! Tokens per second: of each model, of the combination plainly and with speculation, and of a loop in transformers.
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use eft::decode::Generation;
use eft::models::{Checkpoint, DecoderEngine, Nn};
use eft::{Backend, Decoding, Engine, Sampling, Source, TokenId, Vocab};
use serde::Serialize;

use crate::Options;
use crate::steered::{Steered, Steering};
use crate::theirs::{Theirs, median, threads};
use crate::traffic::{self, Counted};

const PROMPT: usize = 64;
/// The number added to the logits of the tokens that steered models prefer: far more than random weights give.
const MARGIN: f32 = 1e4;

/// How fast texts were written in one way.
#[derive(Debug, Serialize)]
pub(crate) struct Speed {
    pub(crate) name: String,
    pub(crate) tokens_per_second: f64,
    /// For a single model: the bytes of its weights over the time of a token, in GB/s.
    pub(crate) bandwidth: Option<f64>,
    /// With speculation: how often a drafted token was accepted.
    pub(crate) acceptance: Option<f64>,
    /// Whether all texts were the ones that they must be.
    pub(crate) same: bool,
}

/// A way of writing texts: returns the seconds for each token after the first, and what else is known.
struct Contestant<'a> {
    name: String,
    bytes: Option<u64>,
    write: Box<dyn FnMut() -> Written + 'a>,
}

/// A text that was written.
struct Written {
    /// The seconds for one token, after the first.
    seconds: f64,
    text: Vec<TokenId>,
    acceptance: Option<f64>,
}

/// Measures all speeds, and counts what is copied.
pub(crate) fn measure<N: Nn>(nn: &N, options: &Options) -> (Vec<Speed>, Vec<Counted>) {
    let checkpoint = |folder: &Path| Checkpoint::open(folder).unwrap();
    let (large, small) = (checkpoint(&options.large), checkpoint(&options.small));
    let vocab = Arc::new(Vocab::anonymous("both", large.spec().vocab).unwrap());
    let load = |weights: &Checkpoint| {
        let started = Instant::now();
        let engine = DecoderEngine::load(nn.clone(), weights, Some(vocab.clone())).unwrap();
        let gigabytes = engine.spec().bytes as f64 / 1e9;
        println!("loaded {gigabytes:.2} GB in {:.1} s", started.elapsed().as_secs_f64());
        Arc::new(engine)
    };
    let (large, tuned, small) = (load(&large), load(&small), load(&small));
    let plain = |engine: &Arc<DecoderEngine<N>>, name: &str| Source::new(engine.clone()).named(name);
    let models = [plain(&large, "large"), plain(&tuned, "tuned"), plain(&small, "small")];
    let steered =
        |engine, margin, agreement| Source::new(Steered::new(engine, Steering { margin, agreement }));
    let draft = steered(&tuned, MARGIN, options.acceptance).named("tuned, steered");
    let target = steered(&large, 2.0 * MARGIN, 1.0) + (&draft - &models[2]);
    let sum = &models[0] + (&models[1] - &models[2]);

    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(options.tokens);
    let writes = |source: &Source<N::Backend>| {
        let (source, decoding) = (source.clone(), decoding.clone());
        Box::new(move || timed(source.generate(prompt(), &decoding).unwrap()))
    };
    let contestant = |name: &str, source: &Source<N::Backend>, bytes| Contestant {
        name: name.into(),
        bytes,
        write: writes(source),
    };
    let speculative = target.speculate().draft(&draft);
    let mut contestants = vec![
        contestant("large", &models[0], Some(large.spec().bytes)),
        contestant("small", &models[2], Some(small.spec().bytes)),
        contestant("large + (tuned - small)", &sum, None),
        contestant("steered, plainly", &target, None),
        Contestant {
            name: "steered, with speculation".into(),
            bytes: None,
            write: Box::new(|| timed(speculative.generate(prompt(), &decoding).unwrap())),
        },
    ];
    contestants.extend(transformers(options));
    let mut speeds = compare(contestants, options.rounds);
    // The texts of these two are the same tokens, one with speculation and one without.
    let (plainly, drafted) = (speeds[3].1.clone(), &speeds[4].1);
    speeds[4].0.same = speeds[4].0.same && plainly == *drafted;
    let speeds: Vec<_> = speeds.into_iter().map(|(speed, _)| speed).collect();
    print(&speeds);
    let counted = traffic::count(models.each_ref(), &prompt(), options.tokens.min(32)).unwrap();
    (speeds, counted)
}

/// Lets all write a text in each round, in turn. Returns the speed and the text of each.
fn compare(mut contestants: Vec<Contestant<'_>>, rounds: usize) -> Vec<(Speed, Vec<TokenId>)> {
    let mut written: Vec<Vec<Written>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (contestant, written) in contestants.iter_mut().zip(&mut written) {
            let text = (contestant.write)();
            if round > 0 {
                written.push(text);
            }
        }
    }
    let speed = |(contestant, written): (Contestant<'_>, Vec<Written>)| {
        let seconds = median(&mut written.iter().map(|text| text.seconds).collect::<Vec<_>>());
        let speed = Speed {
            name: contestant.name,
            tokens_per_second: 1.0 / seconds,
            bandwidth: contestant.bytes.map(|bytes| bytes as f64 / seconds / 1e9),
            acceptance: written.last().and_then(|text| text.acceptance),
            same: written.windows(2).all(|pair| pair[0].text == pair[1].text),
        };
        (speed, written.into_iter().next().map(|text| text.text).unwrap_or_default())
    };
    contestants.into_iter().zip(written).map(speed).collect()
}

fn print(speeds: &[Speed]) {
    println!("\n                                     tokens/s   ms/token   GB/s of weights   accepted");
    for Speed { name, tokens_per_second, bandwidth, acceptance, same } in speeds {
        let optional = |number: &Option<f64>, factor: f64, unit: &str| match number {
            Some(number) => format!("{:.1}{unit}", factor * number),
            None => String::new(),
        };
        println!(
            "{name:35} {tokens_per_second:10.1} {:10.3} {:>17} {:>10}{}",
            1e3 / tokens_per_second,
            optional(bandwidth, 1.0, ""),
            optional(acceptance, 100.0, " %"),
            if *same { "" } else { "   OTHER TEXTS" },
        );
    }
}

/// Writes a text; the first token, which needs the pass over the prompt alone, is not measured.
fn timed<B: Backend>(mut generation: Generation<B>) -> Written {
    let mut text = vec![generation.next().unwrap().unwrap().id];
    let start = Instant::now();
    text.extend(generation.by_ref().map(|token| token.unwrap().id));
    let seconds = start.elapsed().as_secs_f64() / (text.len() - 1) as f64;
    Written { seconds, text, acceptance: generation.report().and_then(|report| report.acceptance()) }
}

fn prompt() -> Vec<TokenId> {
    (0..PROMPT as TokenId).map(|i| (7 * i * i + 3) % 3000 + 10).collect()
}

/// The proxy-tuning loop in eager transformers, if there is an interpreter for it.
fn transformers(options: &Options) -> Option<Contestant<'static>> {
    let (kind, threads) = (format!("{:?}", options.kind).to_lowercase(), threads().to_string());
    let device = options.device.to_string();
    let Some(mut command) = Theirs::command("EFT_PYTHON", "eager.py") else {
        println!("transformers skipped: EFT_PYTHON names no interpreter");
        return None;
    };
    command.args(["--device", &device, &kind, &threads]);
    command.args([&options.large, &options.small, &options.small]);
    let Some(mut theirs) = Theirs::spawn(command) else {
        println!("transformers skipped: its program ended");
        return None;
    };
    let (open, step) = (format!("open {PROMPT}"), format!("step {}", options.tokens - 1));
    let write = move || {
        theirs.ask(&open);
        let seconds = theirs.seconds(&step);
        Written {
            seconds: seconds.iter().sum::<f64>() / seconds.len() as f64,
            text: Vec::new(),
            acceptance: None,
        }
    };
    Some(Contestant { name: "transformers, proxy-tuning".into(), bytes: None, write: Box::new(write) })
}
