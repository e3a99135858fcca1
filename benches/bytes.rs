//! Measures models over bytes: positions and time, compared with generating tokens, and what the zoo's large model answers
//! with a small pair of another tokenizer.
//!
//! ```sh
//! cargo bench --bench bytes -- MODEL [--tokens N]    a model's texts over tokens and over bytes
//! cargo bench --bench bytes -- zoo                   the zoo's questions
//! cargo bench --bench bytes -- pair LARGE SMALL      texts of a large model and a small one with a system message
//! cargo bench --bench bytes -- drafts TARGET DRAFT   a target that a model with another tokenizer drafts for
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::time::Instant;

use eft::bytes::{ByteSettings, Work};
use eft::candle::Candle;
use eft::decode::Request;
use eft::{Decoding, Prompt, PromptTransform, Sampling, Source, TokenId};

const PROMPTS: [&str; 3] = [
    "Alice was beginning to get very tired of sitting by her sister on the bank, and",
    "The most important thing to know about the weather in the mountains is that it",
    "In the year 1850, the town had only a few hundred inhabitan",
];

const SHARES: [f64; 5] = [0.0, 1e-4, 1e-3, 1e-2, 0.05];

/// The shares below which sequences are dropped where all of them are summed over.
const COVERING: [f64; 2] = [0.01, 0.1];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let model = args.first().map_or("zoo", String::as_str);
    let tokens = args.iter().skip_while(|arg| *arg != "--tokens").nth(1).map_or(64, |n| n.parse().unwrap());
    match model {
        "zoo" => zoo(),
        "pair" => pair(&args[1], &args[2]),
        "drafts" => drafts(&args[1], &args[2], tokens),
        name => compare(name, tokens),
    }
}

fn compare(name: &str, tokens: usize) {
    let model = eft::load(name).unwrap();
    println!(
        "{:10} {:9} {:>7} {:>7} {:>14} {:>10} {:>8}  same text",
        "", "pruned", "tokens", "bytes", "positions/tok", "passes/tok", "time"
    );
    for (kind, sampling) in [("greedy", Sampling::greedy()), ("sampled", Sampling::default().seed(5))] {
        // The first text also warms up.
        text(&model, PROMPTS[0], Decoding::from(sampling).max_tokens(8));
        let decoding = Decoding::from(sampling).stop_ids([]);
        let (mut plain, mut seconds, mut count) = (Vec::new(), 0.0, 0);
        for prompt in PROMPTS {
            let (text, took) = text(&model, prompt, decoding.clone().max_tokens(tokens));
            (seconds, count) = (seconds + took, count + tokens);
            plain.push(text);
        }
        let per_token = seconds / count as f64;
        let length: usize = plain.iter().map(String::len).sum();
        println!(
            "{kind:10} {:9} {count:7} {length:7} {:14} {:10} {:5.1} ms a token",
            "tokens",
            1,
            1,
            1e3 * per_token
        );
        let pruned = SHARES.map(|share| (share.to_string(), ByteSettings::default().prune(share)));
        let covering =
            COVERING.map(|share| (format!("all, {share}"), ByteSettings::default().covering(share)));
        for (name, settings) in pruned.into_iter().chain(covering) {
            let work = Work::default();
            let bytes = match model.bytes_with(settings.count(&work)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    println!("{kind:10} {name:>9} {error}");
                    continue;
                }
            };
            let (mut seconds, mut count, mut length, mut same) = (0.0, 0, 0, 0);
            for (prompt, plain) in PROMPTS.iter().zip(&plain) {
                let (text, took) = text(&bytes, prompt, decoding.clone().max_tokens(plain.len()));
                let ids = |text: &str| model.render(format!("{prompt}{text}")).unwrap().len();
                (seconds, count, length) =
                    (seconds + took, count + ids(&text) - ids(""), length + text.len());
                same += usize::from(text == *plain);
            }
            println!(
                "{kind:10} {name:>9} {count:7} {length:7} {:14.2} {:10.2} {:7.2}×  {same} of {}",
                work.positions() as f64 / count as f64,
                work.passes() as f64 / count as f64,
                seconds / count as f64 / per_token,
                PROMPTS.len(),
            );
        }
    }
}

/// A text, and the seconds that it took without its prompt.
fn text(source: &Source<Candle>, prompt: &str, decoding: Decoding) -> (String, f64) {
    let (ids, seconds) = tokens_of(source, prompt, decoding);
    (String::from_utf8_lossy(&source.vocab().decode(&ids)).into_owned(), seconds)
}

/// The tokens of a text, and the seconds that they took without the prompt.
fn tokens_of(source: &Source<Candle>, prompt: &str, decoding: Decoding) -> (Vec<TokenId>, f64) {
    let mut generation = source.generate(prompt, decoding).unwrap();
    let mut ids = Vec::new();
    // The first token waits for the prompt.
    ids.extend(generation.next().map(|token| token.unwrap().id));
    let start = Instant::now();
    ids.extend(generation.map(|token| token.unwrap().id));
    (ids, start.elapsed().as_secs_f64())
}

fn zoo() {
    let load = |name: &str| eft::load(format!("{}/zoo/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (large, tuned, small) = (load("base-large"), load("tuned-small"), load("base-small"));
    let (other_tuned, other_small) =
        (load("experiments/other-tuned-small"), load("experiments/other-base-small"));
    let mut columns = vec![
        ("large".to_owned(), large.clone(), None),
        ("same tokenizer".into(), &large + (&tuned - &small), None),
    ];
    for share in [0.0, 1e-3] {
        let work = Work::default();
        let bytes = |source: &Source<Candle>| {
            source.bytes_with(ByteSettings::default().prune(share).count(&work)).unwrap()
        };
        let upscaled = bytes(&large) + (bytes(&other_tuned) - bytes(&other_small));
        columns.push((format!("bytes, other tokenizer, pruned {share}"), upscaled, Some(work.clone())));
        let upscaled = bytes(&large) + (bytes(&tuned) - bytes(&small));
        columns.push((format!("bytes, same tokenizer, pruned {share}"), upscaled, None));
    }
    for (name, source, work) in columns {
        let start = Instant::now();
        let mut cells = Vec::new();
        for kind in ["short", "long"] {
            let file = format!("{}/zoo/questions/test-{kind}.jsonl", env!("CARGO_MANIFEST_DIR"));
            let lines = std::fs::read_to_string(file).unwrap();
            let questions: Vec<serde_json::Value> =
                lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let prompts =
                questions.iter().map(|q| Request::new(Prompt::chat(q["question"].as_str().unwrap())));
            let decoding = Decoding::from(Sampling::greedy()).max_tokens(200);
            let mut right = 0;
            for (chunk, questions) in prompts.collect::<Vec<_>>().chunks(8).zip(questions.chunks(8)) {
                let texts = source.generate_batch(chunk.to_vec(), &decoding).unwrap().text().unwrap().read();
                let answers = texts.into_iter().map(|text| text.unwrap());
                right += answers
                    .zip(questions)
                    .filter(|(text, q)| text.trim() == q["answer"].as_str().unwrap())
                    .count();
            }
            cells.push(format!("{kind} {right} of {}", questions.len()));
        }
        let work = work.map_or(String::new(), |work| format!(", {} positions", work.positions()));
        println!("{name}: {}, {:.0} s{work}", cells.join(", "), start.elapsed().as_secs_f64());
    }
}

fn pair(large: &str, small: &str) {
    let over_bytes = |name: &str| eft::load(name).unwrap().bytes().unwrap();
    let (large, small) = (over_bytes(large), over_bytes(small));
    for system in ["You are a pirate. Answer like a pirate.", "Answer in French."] {
        let tuned = small.under(PromptTransform::system(system));
        println!("# {system}");
        for question in ["What is the capital of France?", "How do magnets work?"] {
            println!("» {question}");
            let decoding = Decoding::from(Sampling::greedy()).max_tokens(160);
            let sources = [("large", large.clone()), ("small with the message", tuned.clone())];
            let sums = [1.0, 2.0].map(|alpha| ("large + α·(…)", &large + alpha * (&tuned - &small)));
            for (name, source) in sources.into_iter().chain(sums) {
                let start = Instant::now();
                let text = source.generate(Prompt::chat(question), &decoding).unwrap().text().unwrap();
                let text: String = text.collect::<eft::Result<_>>().unwrap();
                println!("  {name}, {:.1} s: {text:?}", start.elapsed().as_secs_f64());
            }
        }
    }
}

fn drafts(target: &str, draft: &str, tokens: usize) {
    let (target, draft) = (eft::load(target).unwrap(), eft::load(draft).unwrap());
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
    text(&target, PROMPTS[0], decoding.clone().max_tokens(8));
    let mapped = draft.over_vocab(target.vocab()).unwrap();
    for prompt in PROMPTS {
        let (plain, seconds) = tokens_of(&target, prompt, decoding.clone());
        for (way, draft) in [("as text", &draft), ("by shared tokens", &mapped)] {
            let mut generation = target.speculate().draft(draft).generate(prompt, &decoding).unwrap();
            let mut ids = Vec::from_iter(generation.next().map(|token| token.unwrap().id));
            let start = Instant::now();
            ids.extend(generation.by_ref().map(|token| token.unwrap().id));
            let drafted = start.elapsed().as_secs_f64();
            let report = generation.report().unwrap();
            println!(
                "{seconds:.2} s plainly, {drafted:.2} s drafted {way}: {:.2}×; {:.0} % accepted, {:.2} tokens a pass; {}",
                seconds / drafted,
                100.0 * report.acceptance().unwrap_or(0.0),
                report.tokens_per_pass().unwrap_or(0.0),
                parting(&target, prompt, &plain, &ids),
            );
        }
    }
}

/// Where two greedy texts part, and by how much the first was likelier there. Passes of other shapes round differently, so
/// that two tokens which are about as likely may change places.
fn parting(target: &Source<Candle>, prompt: &str, plain: &[TokenId], drafted: &[TokenId]) -> String {
    let Some(at) = plain.iter().zip(drafted).position(|(a, b)| a != b) else { return "same text".into() };
    let log_prob = |ids: &[TokenId]| target.score(prompt, &ids[..=at]).unwrap().total;
    let gap = log_prob(plain) - log_prob(drafted);
    format!("ANOTHER TEXT from token {at}, where the first is likelier by {gap:.4} nats")
}
