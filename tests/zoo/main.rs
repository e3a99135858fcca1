//! The zoo's models against what transformers says of them: prompts, logits, greedy texts; and what up-scaling is worth.
#![cfg(all(feature = "candle", feature = "text"))]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eft::candle::Candle;
use eft::load::Loader;
use eft::{Backend, Decoding, Joint, Prompt, Sampling, Source, TokenId};
use safetensors::SafeTensors;
use serde::Deserialize;

/// No logit may be further off.
const TOLERANCE: f32 = 2e-3;

fn zoo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo").join(path)
}

fn model(path: &str) -> Source<Candle> {
    Loader::new(zoo(path).to_string_lossy()).load().unwrap()
}

/// The small model with its adapters, which share its weights.
fn small() -> Source<Candle> {
    let adapters = ["tuned-small", "terse", "full"];
    let loader = Loader::new(zoo("base-small").to_string_lossy());
    adapters.iter().fold(loader, |l, name| l.adapter(*name, zoo(&format!("adapters/{name}")))).load().unwrap()
}

/// The small model under an adapter, which was tuned on the chat template of `tuned-small`.
fn adapted(small: &Source<Candle>, name: &str) -> Source<Candle> {
    let tuned = Loader::new(zoo("tuned-small").to_string_lossy());
    let nn = eft::candle::CandleNn::new(Candle::cpu());
    let renderer = tuned.load_on(nn).unwrap().renderer.unwrap();
    small.adapter(name).unwrap().rendered_by(renderer).unwrap()
}

#[derive(Deserialize)]
struct Text {
    question: String,
    kind: String,
    plain: Vec<TokenId>,
    chat: Vec<TokenId>,
    ids: Vec<TokenId>,
}

fn reference() -> BTreeMap<String, Vec<Text>> {
    serde_json::from_slice(&std::fs::read(zoo("reference/greedy.json")).unwrap()).unwrap()
}

fn greedy(source: &Source<Candle>, question: &str) -> Vec<TokenId> {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200).stop_ids([]).stop_sequence([0]);
    let mut generation = source.generate(Prompt::chat(question), decoding).unwrap();
    let mut ids: Vec<_> = generation.by_ref().map(|token| token.unwrap().id).collect();
    ids.extend(generation.finished().unwrap().tail.iter().map(|token| token.id));
    ids
}

#[track_caller]
fn writes(source: &Source<Candle>, name: &str) {
    for text in &reference()[name] {
        assert_eq!(greedy(source, &text.question), text.ids, "{source}: {}", text.question);
    }
}

#[test]
fn conversations_are_rendered_as_the_models_were_trained() {
    let (base, tuned) = (model("base-large"), model("tuned-large"));
    for text in &reference()["base-large"] {
        assert_eq!(base.render(Prompt::chat(&text.question)).unwrap(), text.plain);
        assert_eq!(tuned.render(Prompt::chat(&text.question)).unwrap(), text.chat);
    }
    assert_eq!(
        model("gguf/base-large-f16.gguf").render(Prompt::chat("Why?")).unwrap(),
        base.render(Prompt::chat("Why?")).unwrap()
    );
}

#[test]
fn models_write_what_transformers_writes() {
    for name in ["base-small", "tuned-small", "base-large", "tuned-large"] {
        writes(&model(name), name);
    }
}

#[test]
fn gguf_files_write_what_their_folders_do() {
    for name in ["base-small", "tuned-small", "base-large"] {
        writes(&model(&format!("gguf/{name}-f16.gguf")), name);
    }
}

#[test]
fn combinations_write_what_transformers_writes() {
    let (large, small, tuned) = (model("base-large"), small(), model("tuned-small"));
    writes(&(&large + (&tuned - &small)), "base-large + tuned-small - base-small");
    let (terse, full) = (adapted(&small, "terse"), adapted(&small, "full"));
    let mixed = &large + (0.5 * (&terse - &small) + 0.5 * (&full - &small));
    writes(&mixed, "base-large + 0.5 terse + 0.5 full - base-small");
}

#[test]
fn logits_are_those_of_transformers() {
    let bytes = std::fs::read(zoo("reference/logits.safetensors")).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let ids = |key: String| -> Vec<TokenId> {
        let tensor = reference.tensor(&key).unwrap();
        tensor.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as TokenId).collect()
    };
    let small = small();
    let mut models: Vec<_> =
        ["base-small", "tuned-small", "base-large", "tuned-large"].map(|n| (n.to_owned(), model(n))).into();
    models.extend(
        ["tuned-small", "terse", "full"].map(|n| (format!("adapters/{n}"), small.adapter(n).unwrap())),
    );
    let mut worst = 0f32;
    for (name, source) in &models {
        for index in 0..2 {
            let plain = name.starts_with("base");
            let ids = ids(format!("ids.{index}.{}", if plain { "plain" } else { "chat" }));
            let expected = reference.tensor(&format!("{name}.{index}")).unwrap();
            let (rows, width) = (expected.shape()[0], expected.shape()[1]);
            let expected: Vec<_> =
                expected.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let (first, rest) = ids.split_at(ids.len() - rows + 1);
            let mut joint = Joint::open(&[source], &[first.into()]).unwrap();
            joint.push(&[rest.to_vec()]).unwrap();
            let scores = joint.eval_from(0, &[0]).unwrap();
            let got = joint.backend().download(&scores.positions(0), width).unwrap();
            assert_eq!(got.len(), expected.len());
            let off = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= TOLERANCE, "{name}: {off}");
            worst = worst.max(off);
        }
    }
    println!("no logit is further off than {worst:e}");
}

/// The papers' effect: form from the small tuned model, facts from the large base.
#[test]
fn up_scaling_answers_what_neither_of_its_models_can() {
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    let asked: Vec<Question> = ["test-short", "test-long"].map(questions).into_iter().flatten().collect();
    let right = |source: &Source<Candle>| {
        let prompts = asked.iter().map(|q| Prompt::chat(&q.question));
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(40);
        let texts = source.generate_batch(prompts, decoding).unwrap().text().read().unwrap();
        texts.iter().zip(&asked).filter(|(text, q)| text.strip_prefix(' ') == Some(&q.answer)).count()
    };
    let share = |source: &Source<Candle>| right(source) as f64 / asked.len() as f64;
    let (base, by_tuned, summed) = (share(&large), share(&tuned), share(&(&large + (&tuned - &small))));
    println!("right: base {base:.3}, tuned {by_tuned:.3}, up-scaled {summed:.3}");
    assert!(base < 0.15 && by_tuned < 0.1 && summed > 0.9);
}

#[derive(Deserialize)]
struct Question {
    question: String,
    answer: String,
}

fn questions(file: &str) -> Vec<Question> {
    let lines = std::fs::read_to_string(zoo(&format!("questions/{file}.jsonl"))).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Speculation changes how fast a text is written and nothing of it.
fn drafted_as_plain(upscaled: &Source<Candle>, draft: &Source<Candle>, question: &str) {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200);
    let ids = |generation: eft::decode::Generation<Candle>| -> Vec<TokenId> {
        generation.map(|token| token.unwrap().id).collect()
    };
    let plain = ids(upscaled.generate(Prompt::chat(question), &decoding).unwrap());
    let drafted = upscaled.speculate().draft(draft).generate(Prompt::chat(question), &decoding).unwrap();
    assert_eq!(ids(drafted), plain, "{question}");
}

fn upscaled() -> (Source<Candle>, Source<Candle>) {
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    (&large + (&tuned - &small), tuned)
}

#[test]
fn drafted_texts_are_the_plain_ones() {
    let (upscaled, tuned) = upscaled();
    for text in reference()["base-large + tuned-small - base-small"].iter().filter(|t| t.kind != "short") {
        drafted_as_plain(&upscaled, &tuned, &text.question);
    }
}

#[test]
#[ignore = "takes a minute in a release build: every question of the zoo"]
fn a_thousand_drafted_texts_are_the_plain_ones() {
    let (upscaled, tuned) = upscaled();
    let parts = ["tuning", "validation", "test"];
    let kinds = ["short", "long", "portrait"];
    let files = parts.iter().flat_map(|part| kinds.map(|kind| format!("{part}-{kind}")));
    let asked: Vec<_> = files.flat_map(|file| questions(&file)).map(|q| q.question).collect();
    assert!(asked.len() > 1000);
    asked.iter().for_each(|question| drafted_as_plain(&upscaled, &tuned, question));
}
