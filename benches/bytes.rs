//! Measures models over bytes: positions and time, compared with generating tokens, and what the zoo's large model answers
//! with a small pair of another tokenizer.
//!
//! ```sh
//! cargo bench --bench bytes -- MODEL [--tokens N]    a model's texts over tokens and over bytes
//! cargo bench --bench bytes -- texts MODEL           the texts themselves, of plain prompts and of a conversation
//! cargo bench --bench bytes -- sums MODEL            next bytes compared with sums over all token sequences
//! cargo bench --bench bytes -- zoo                   the zoo's questions
//! cargo bench --bench bytes -- pair LARGE SMALL      texts of a large model and a small one with a system message
//! cargo bench --bench bytes -- drafts TARGET DRAFT   a target that a model with another tokenizer drafts for
//! ```
//!
//! With the feature `tch`, `drafts-tch` does the same by libtorch in bf16.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::time::Instant;

use eft::bytes::{ByteSettings, Work};
use eft::candle::Candle;
use eft::decode::Request;
use eft::{Backend, Decoding, Evaluator, Prompt, PromptTransform, Sampling, Source, TokenId};

const PROMPTS: [&str; 3] = [
    "Alice was beginning to get very tired of sitting by her sister on the bank, and",
    "The most important thing to know about the weather in the mountains is that it",
    "In the year 1850, the town had only a few hundred inhabitan",
];

const SHARES: [f64; 4] = [1e-4, 1e-3, 1e-2, 0.05];

/// The least probability of what is computed ahead; with 1, nothing is.
const AHEAD: [f64; 5] = [1.0, 0.5, 0.3, 0.2, 0.1];

/// The shares below which sequences are dropped where all of them are summed over.
const COVERING: [f64; 2] = [0.01, 0.1];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let model = args.first().map_or("zoo", String::as_str);
    let tokens = args.iter().skip_while(|arg| *arg != "--tokens").nth(1).map_or(64, |n| n.parse().unwrap());
    match model {
        "zoo" => zoo(),
        "texts" => texts(&args[1], tokens),
        "sums" => sums(&args[1]),
        "pair" => pair(&args[1], &args[2]),
        "drafts" => {
            let [target, draft] = [1, 2].map(|at| eft::load(&args[at]).unwrap());
            drafts(&target, &draft, tokens);
        }
        #[cfg(feature = "tch")]
        "drafts-tch" => {
            use eft::tch::{Kind, Torch, TorchNn};
            let nn = TorchNn::new(Torch::cpu()).kind(Kind::BFloat16);
            let [target, draft] =
                [1, 2].map(|at| eft::Loader::new(&args[at]).load_on(nn.clone()).unwrap().source);
            drafts(&target, &draft, tokens);
        }
        name => compare(name, tokens),
    }
}

fn compare(name: &str, tokens: usize) {
    let model = eft::load(name).unwrap();
    println!(
        "{:8} {:16} {:>7} {:>7} {:>14} {:>10} {:>8} {:>5}  same text",
        "", "", "tokens", "bytes", "positions/tok", "passes/tok", "time", "rows"
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
            "{kind:8} {:16} {count:7} {length:7} {:14} {:10} {:5.1} ms a token",
            "tokens",
            1,
            1,
            1e3 * per_token
        );
        let exact =
            AHEAD.map(|ahead| (format!("exact, ahead {ahead}"), ByteSettings::default().ahead(ahead)));
        let pruned = SHARES.map(|share| (format!("pruned {share}"), ByteSettings::default().prune(share)));
        let covering =
            COVERING.map(|share| (format!("all {share}"), ByteSettings::default().covering(share)));
        let alone = COVERING.map(|share| {
            (format!("all {share}, ahead 1"), ByteSettings::default().covering(share).ahead(1.0))
        });
        for (name, settings) in exact.into_iter().chain(pruned).chain(covering).chain(alone) {
            let work = Work::default();
            let bytes = match model.bytes_with(settings.count(&work)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    println!("{kind:8} {name:16} {error}");
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
                "{kind:8} {name:16} {count:7} {length:7} {:14.2} {:10.2} {:7.2}× {:5}  {same} of {}; {:.1e} dropped",
                work.positions() as f64 / count as f64,
                work.passes() as f64 / count as f64,
                seconds / count as f64 / per_token,
                work.most_rows(),
                PROMPTS.len(),
                work.dropped(),
            );
        }
    }
}

/// A text, and the seconds that it took without its prompt.
fn text<B: Backend>(source: &Source<B>, prompt: &str, decoding: Decoding) -> (String, f64) {
    let (ids, seconds) = tokens_of(source, prompt, decoding);
    (String::from_utf8_lossy(&source.vocab().decode(&ids)).into_owned(), seconds)
}

/// The tokens of a text, and the seconds that they took without the prompt.
fn tokens_of<B: Backend>(source: &Source<B>, prompt: &str, decoding: Decoding) -> (Vec<TokenId>, f64) {
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

/// A model over bytes: by canonical sequences if they are known, else by the probable ones of all.
fn over_bytes(model: &Source<Candle>) -> Source<Candle> {
    let all = || model.bytes_with(ByteSettings::default().covering(0.01)).unwrap();
    model.bytes().unwrap_or_else(|_| all())
}

fn texts(name: &str, tokens: usize) {
    let model = eft::load(name).unwrap();
    let bytes = over_bytes(&model);
    let chat = ["What is the capital of France?", "Write one sentence about the sea."].map(Prompt::chat);
    for prompt in
        PROMPTS.map(Prompt::from).into_iter().chain(["", " ", "1, 2, 3,"].map(Prompt::from)).chain(chat)
    {
        println!("» {prompt:?}");
        for (kind, sampling) in [
            ("greedy", Sampling::greedy()),
            ("sampled", Sampling::default().seed(5)),
            ("sampled", Sampling::default().top_p(0.9).seed(6)),
        ] {
            let write = |source: &Source<Candle>, most: usize| -> eft::Result<String> {
                let decoding = Decoding::from(sampling).max_tokens(most);
                source.generate(prompt.clone(), decoding)?.text()?.map(|piece| Ok(piece?.text)).collect()
            };
            let by_tokens = write(&model, tokens).unwrap_or_else(|error| error.to_string());
            let by_bytes = write(&bytes, by_tokens.len().max(1)).unwrap_or_else(|error| error.to_string());
            let same = by_tokens == by_bytes;
            println!("  {kind}, tokens: {by_tokens:?}");
            match same && kind == "greedy" {
                true => println!("  {kind}, bytes:  the same"),
                false => println!("  {kind}, bytes:  {by_bytes:?}"),
            }
        }
    }
}

/// Compares the symbols after short texts with sums over all token sequences, which no code of the library has a part in but
/// the model's.
fn sums(name: &str) {
    let model = eft::load(name).unwrap();
    for text in ["T", "Th", "The", "He", "a b", "n\u{e9}", "\n\n"] {
        let mut sums = Sums { model: &model, of: [0.0; 257], rows: Vec::new() };
        sums.add(&mut model.render("").unwrap(), text.as_bytes(), 1.0);
        let total: f64 = sums.of.iter().sum();
        let expected = sums.of.map(|sum| (sum / total).ln());
        println!("{text:?}: {} sequences, log-probability {:.5}", sums.rows.len(), total.ln());
        // Products of quantised weights round differently in passes of many rows.
        let prompts: Vec<_> = sums.rows.iter().map(|(ids, _)| Prompt::Tokens(ids.clone())).collect();
        let mut evaluator = Evaluator::open(&[&model], &prompts).unwrap();
        let scores = evaluator.eval_last(0).unwrap();
        let mut greatest: f32 = 0.0;
        for (index, (_, alone)) in sums.rows.iter().enumerate() {
            let row = model.backend().download(&scores.positions(index), scores.width()).unwrap();
            greatest = row.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(greatest, f32::max);
        }
        println!("  the model's logits in one batch differ from those alone by at most {greatest:.1e}");
        let mut likely: Vec<_> = (0..257).collect();
        likely.sort_by(|a, b| expected[*b].total_cmp(&expected[*a]));
        println!("  likeliest: {:?}", likely[..5].iter().map(|s| (*s, expected[*s])).collect::<Vec<_>>());
        for share in [0.0, 0.001, 0.01, 0.1] {
            let bytes = model.bytes_with(ByteSettings::default().covering(share)).unwrap();
            let mut evaluator = Evaluator::open(&[&bytes], &[Prompt::from("")]).unwrap();
            evaluator.push(&[eft::bytes::tokens(text)]).unwrap();
            let scores = evaluator.eval_last(0).unwrap();
            let row = bytes.backend().download(&scores.positions(0), scores.width()).unwrap();
            let distance: f64 =
                row.iter().zip(expected).map(|(a, b)| (f64::from(*a).exp() - b.exp()).abs()).sum();
            let gap = |least: f64| {
                let gaps = row.iter().zip(expected).filter(|(_, b)| *b > least.ln());
                gaps.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
            };
            println!(
                "  covering({share}): total variation {:.1e}, greatest difference of log-probs {:.1e} (above 1e-3), {:.1e} (1e-9)",
                distance / 2.0,
                gap(1e-3),
                gap(1e-9),
            );
        }
    }
}

/// The probabilities of the symbols after a text, but for a factor.
struct Sums<'a> {
    model: &'a Source<Candle>,
    of: [f64; 257],
    rows: Vec<(Vec<TokenId>, Vec<f32>)>,
}

impl Sums<'_> {
    /// Adds those of all sequences that begin with these tokens, whose probability is given.
    fn add(&mut self, ids: &mut Vec<TokenId>, rest: &[u8], weight: f64) {
        let mut evaluator = Evaluator::open(&[self.model], &[Prompt::Tokens(ids.clone())]).unwrap();
        let scores = evaluator.eval_last(0).unwrap();
        let row = self.model.backend().download(&scores.positions(0), scores.width()).unwrap();
        self.rows.push((ids.clone(), row.clone()));
        let vocab = self.model.vocab().clone();
        let text =
            |id: &TokenId| vocab.bytes(*id).filter(|bytes| !vocab.is_special(*id) && !bytes.is_empty());
        let counts = |id: &TokenId| text(id).is_some() || vocab.eos().contains(id);
        let tokens: Vec<_> = (0..vocab.real() as TokenId).filter(counts).collect();
        let most = tokens.iter().map(|id| row[*id as usize]).fold(f32::NEG_INFINITY, f32::max);
        let weigh = |id: &TokenId| f64::from(row[*id as usize] - most).exp();
        let total: f64 = tokens.iter().map(weigh).sum();
        for id in &tokens {
            let weight = weight * weigh(id) / total;
            match text(id) {
                None if rest.is_empty() => self.of[256] += weight,
                None => {}
                Some(bytes) if bytes.starts_with(rest) && bytes.len() > rest.len() => {
                    self.of[usize::from(bytes[rest.len()])] += weight;
                }
                Some(bytes) => {
                    if let Some(rest) = rest.strip_prefix(bytes) {
                        ids.push(*id);
                        self.add(ids, rest, weight);
                        ids.pop();
                    }
                }
            }
        }
    }
}

fn pair(large: &str, small: &str) {
    // A model without a chat template reads conversations as plain text.
    let load = |name: &str| {
        let model = eft::load(name).unwrap();
        let is_rendered = model.render(Prompt::chat("")).is_ok();
        let plain = || eft::Loader::new(name).plain(eft::text::PlainTemplate::default()).load().unwrap();
        over_bytes(&if is_rendered { model } else { plain() })
    };
    let (large, small) = (load(large), load(small));
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

fn drafts<B: Backend>(target: &Source<B>, draft: &Source<B>, tokens: usize) {
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
    text(target, PROMPTS[0], decoding.clone().max_tokens(8));
    let mapped = draft.over_vocab(target.vocab()).unwrap();
    for prompt in PROMPTS {
        let (plain, seconds) = tokens_of(target, prompt, decoding.clone());
        for (way, draft) in [("as text", draft), ("by shared tokens", &mapped)] {
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
                parting(target, prompt, &plain, &ids),
            );
        }
    }
}

/// Where two greedy texts part, and by how much the first was likelier there. Passes of other shapes round differently, so
/// that two tokens which are about as likely may change places.
fn parting<B: Backend>(target: &Source<B>, prompt: &str, plain: &[TokenId], drafted: &[TokenId]) -> String {
    let Some(at) = plain.iter().zip(drafted).position(|(a, b)| a != b) else { return "same text".into() };
    let log_prob = |ids: &[TokenId]| target.score(prompt, &ids[..=at]).unwrap().total;
    let gap = log_prob(plain) - log_prob(drafted);
    format!("ANOTHER TEXT from token {at}, where the first is likelier by {gap:.4} nats")
}
