//! Speculative decoding of texts: ours, of the large model and of the combination, and that of llama.cpp's server.
use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

use eft::candle::Candle;
use eft::{Decoding, Loader, Prompt, PromptTransform, Sampling, Source};

use crate::Options;
use crate::contestants::start;
use crate::report::{Record, Report};
use crate::theirs::{Theirs, numbers, threads};

/// One a line. They were fixed before any of them was measured.
const PROMPTS: &str = include_str!("../speculative/prompts.txt");
const TUNING: &str = "You are a friendly teacher. Answer in simple words that a child of ten can follow.";

/// The seconds of each token of a text on average, and the tokens that were drafted and accepted.
type Text = Result<(f64, f64, f64), String>;

pub(crate) fn compare(folder: &Path, options: &Options, report: &mut Report) {
    let [large, small] = ["qwen-1.5b", "qwen-0.5b"].map(|name| folder.join(format!("{name}.gguf")));
    if let Some(missing) = [&large, &small].into_iter().find(|file| !file.exists()) {
        return report.skip(format!("speculative decoding: {} does not exist", missing.display()));
    }
    let (texts, tokens) = if options.quick { (2, 16) } else { (8, 128) };
    report.heading(&format!("greedy texts of {tokens} tokens, the time of a token"));
    let load = |file: &Path| Loader::new(file.to_string_lossy()).load().unwrap();
    let [base, untuned] = [&large, &small].map(|file| load(file));
    let tuned = untuned.under(PromptTransform::system(TUNING)).named("tuned");
    let upscaled = &base + (&tuned - &untuned);
    let mut server = |draft: Option<&Path>| {
        let threads = threads().to_string();
        let arguments =
            [OsStr::new(&threads), large.as_os_str()].into_iter().chain(draft.map(Path::as_os_str));
        let arguments: Vec<_> = arguments.collect();
        start("llama.cpp's server", "EFT_LLAMA_PYTHON", "peers/llama_server.py", &arguments, report)
    };
    let (mut alone, mut drafted) = (server(None), server(Some(&small)));
    let names = ["qwen-1.5b", "qwen-1.5b, drafted by qwen-0.5b", "qwen-1.5b + (tuned - qwen-0.5b)"];
    let mut results: Vec<(&str, &str, Vec<f64>, [f64; 2])> = Vec::new();
    let mut keep = |measured, program, text: Text, report: &mut Report| match text {
        Ok((seconds, judged, accepted)) => {
            match results.iter_mut().find(|result| result.0 == measured && result.1 == program) {
                Some(result) => {
                    result.2.push(seconds);
                    result.3 = [result.3[0] + judged, result.3[1] + accepted];
                }
                None => results.push((measured, program, vec![seconds], [judged, accepted])),
            }
        }
        Err(why) => report.skip(format!("{measured}, {program}: {why}")),
    };
    // One more, since the first text warms up.
    for (index, prompt) in PROMPTS.lines().take(texts + 1).enumerate() {
        let prompt = Prompt::chat(prompt);
        let ids = base.render(&prompt).unwrap();
        let measured = [
            (names[0], "candle", Some(plain(&base, &prompt, tokens))),
            (names[0], "llama.cpp", alone.as_mut().map(|server| by_server(server, &ids, tokens))),
            (names[1], "candle", Some(fast(&base, &untuned, &prompt, tokens))),
            (names[1], "llama.cpp", drafted.as_mut().map(|server| by_server(server, &ids, tokens))),
            (names[2], "candle, plain", Some(plain(&upscaled, &prompt, tokens))),
            (names[2], "candle, drafted by tuned", Some(fast(&upscaled, &tuned, &prompt, tokens))),
        ];
        for (name, program, text) in measured {
            if let Some(text) = text.filter(|_| index > 0) {
                keep(name, program, text, report);
            }
        }
    }
    for name in names {
        let records = results.iter().filter(|result| result.0 == name).map(
            |(name, program, seconds, [judged, accepted])| {
                let record = Record::new("greedy texts", name, "GGUF", program, seconds.clone());
                Record { accepted: (*judged > 0.0).then(|| accepted / judged), ..record }
            },
        );
        report.add(records.collect());
    }
    for (name, program, _, [judged, accepted]) in results.iter().filter(|result| result.3[0] > 0.0) {
        println!("{name}, {program}: {:.0} % of {judged} drafted tokens accepted", 100.0 * accepted / judged);
    }
}

fn decoding(tokens: usize) -> Decoding {
    Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens)
}

/// Plain decoding. The pass over the prompt is not measured.
fn plain(source: &Source<Candle>, prompt: &Prompt, tokens: usize) -> Text {
    let mut text = source.generate(prompt, decoding(tokens)).map_err(|error| error.to_string())?;
    let start = Instant::now();
    text.by_ref().try_for_each(|token| token.map(drop)).map_err(|error| error.to_string())?;
    Ok((start.elapsed().as_secs_f64() / tokens as f64, 0.0, 0.0))
}

/// Speculative decoding.
fn fast(target: &Source<Candle>, draft: &Source<Candle>, prompt: &Prompt, tokens: usize) -> Text {
    let speculative = target.speculate().draft(draft);
    let mut text = speculative.generate(prompt, decoding(tokens)).map_err(|error| error.to_string())?;
    let start = Instant::now();
    text.by_ref().try_for_each(|token| token.map(drop)).map_err(|error| error.to_string())?;
    let seconds = start.elapsed().as_secs_f64() / tokens as f64;
    let report = text.report().ok_or("there is no report")?;
    Ok((seconds, report.judged as f64, report.accepted as f64))
}

fn by_server(server: &mut Theirs, ids: &[u32], tokens: usize) -> Text {
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let line = server.try_ask(&format!("text {tokens} {}", ids.join(" "))).ok_or("the program ended")?;
    match numbers(&line)[..] {
        [seconds, drafted, accepted] => Ok((seconds, drafted, accepted)),
        _ => Err(format!("an unexpected answer: {line}")),
    }
}
