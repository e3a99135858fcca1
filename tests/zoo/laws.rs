//! Tests that the zoo's models must pass on every backend.
use std::collections::BTreeMap;

use eft::decode::{Generation, Joint, Request, TextEvent, Variant};
use eft::{Backend, Decoding, Evaluator, Prompt, Sampling, Source, TokenId};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::zoo;

/// The four models with their own weights, as opposed to adapters.
pub(crate) const MODELS: [&str; 4] = ["base-small", "tuned-small", "base-large", "tuned-large"];

/// The largest difference from the logits of transformers.
const TOLERANCE: f32 = 2e-3;

/// A text that transformers writes greedily, and its prompt's token ids for base models and for chat models.
#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) question: String,
    pub(crate) kind: String,
    pub(crate) plain: Vec<TokenId>,
    pub(crate) chat: Vec<TokenId>,
    pub(crate) ids: Vec<TokenId>,
}

/// The reference texts of a model or combination.
pub(crate) fn texts(name: &str) -> Vec<Text> {
    let bytes = std::fs::read(zoo("reference/greedy.json")).unwrap();
    let mut reference: BTreeMap<String, Vec<Text>> = serde_json::from_slice(&bytes).unwrap();
    reference.remove(name).unwrap()
}

fn greedy<B: Backend>(source: &Source<B>, question: &str) -> Vec<TokenId> {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200).stop_ids([]).stop_sequence([0]);
    let mut generation = source.generate(Prompt::chat(question), decoding).unwrap();
    let mut ids: Vec<_> = generation.by_ref().map(|token| token.unwrap().id).collect();
    ids.extend(generation.finished().unwrap().tail.iter().map(|token| token.id));
    ids
}

/// The source writes the same texts as in transformers.
#[track_caller]
pub(crate) fn writes<B: Backend>(source: &Source<B>, name: &str) {
    for text in texts(name) {
        assert_eq!(greedy(source, &text.question), text.ids, "{source}: {}", text.question);
    }
}

/// Prompts are rendered as the models were trained.
pub(crate) fn renders<B: Backend>(model: impl Fn(&str) -> Source<B>) {
    let (base, tuned) = (model("base-large"), model("tuned-large"));
    for text in texts("base-large") {
        assert_eq!(base.render(Prompt::chat(&text.question)).unwrap(), text.plain);
        assert_eq!(tuned.render(Prompt::chat(&text.question)).unwrap(), text.chat);
    }
}

/// The up-scaled large model, and the tuned small one.
pub(crate) fn upscaled<B: Backend>(model: impl Fn(&str) -> Source<B>) -> (Source<B>, Source<B>) {
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    (&large + (&tuned - &small), tuned)
}

/// The models' logits equal those of transformers. Base models get plain text, the others conversations.
pub(crate) fn logits<B: Backend>(models: impl IntoIterator<Item = (String, Source<B>)>) {
    let bytes = std::fs::read(zoo("reference/logits.safetensors")).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let ids = |key: String| -> Vec<TokenId> {
        let tensor = reference.tensor(&key).unwrap();
        tensor.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as TokenId).collect()
    };
    let mut worst = 0f32;
    for (name, source) in models {
        for index in 0..2 {
            let plain = name.starts_with("base");
            let ids = ids(format!("ids.{index}.{}", if plain { "plain" } else { "chat" }));
            let expected = reference.tensor(&format!("{name}.{index}")).unwrap();
            let (rows, width) = (expected.shape()[0], expected.shape()[1]);
            let expected: Vec<_> =
                expected.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let (first, rest) = ids.split_at(ids.len() - rows + 1);
            let mut evaluator = Evaluator::open(&[&source], &[first.into()]).unwrap();
            evaluator.push(&[rest.to_vec()]).unwrap();
            let scores = evaluator.eval_from(0, &[0]).unwrap();
            let got = evaluator.backend().download(&scores.positions(0), width).unwrap();
            assert_eq!(got.len(), expected.len());
            let off = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= TOLERANCE, "{name}: {off}");
            worst = worst.max(off);
        }
    }
    println!("largest difference of a logit: {worst:e}");
}

/// A question and its answer.
#[derive(Deserialize)]
pub(crate) struct Question {
    pub(crate) question: String,
    answer: String,
}

pub(crate) fn questions(file: &str) -> Vec<Question> {
    let lines = std::fs::read_to_string(zoo(&format!("questions/{file}.jsonl"))).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The effect that the papers report: the up-scaled model has the form of the small tuned model and the facts of the
/// large base.
pub(crate) fn up_scaling_answers<B: Backend>(model: impl Fn(&str) -> Source<B>) {
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    let asked: Vec<Question> = ["test-short", "test-long"].map(questions).into_iter().flatten().collect();
    let right = |source: &Source<B>| {
        let prompts = asked.iter().map(|q| Prompt::chat(&q.question));
        let decoding = Decoding::from(Sampling::greedy()).max_tokens(40);
        let texts = source.generate_batch(prompts, decoding).unwrap().text().unwrap().read();
        let texts: Vec<_> = texts.into_iter().map(Result::unwrap).collect();
        texts.iter().zip(&asked).filter(|(text, q)| text.strip_prefix(' ') == Some(&q.answer)).count()
    };
    let share = |source: &Source<B>| right(source) as f64 / asked.len() as f64;
    let (base, by_tuned, summed) = (share(&large), share(&tuned), share(&(&large + (&tuned - &small))));
    println!("right: base {base:.3}, tuned {by_tuned:.3}, up-scaled {summed:.3}");
    assert!(base < 0.15 && by_tuned < 0.1 && summed > 0.9);
}

/// Speculation does not change a greedy text.
fn drafted_as_plain<B: Backend>(upscaled: &Source<B>, draft: &Source<B>, question: &str) {
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(200);
    let ids =
        |generation: Generation<B>| -> Vec<TokenId> { generation.map(|token| token.unwrap().id).collect() };
    let plain = ids(upscaled.generate(Prompt::chat(question), &decoding).unwrap());
    let drafted = upscaled.speculate().draft(draft).generate(Prompt::chat(question), &decoding).unwrap();
    assert_eq!(ids(drafted), plain, "{question}");
}

/// Long texts are the same if the small model drafts them.
pub(crate) fn drafts<B: Backend>(model: impl Fn(&str) -> Source<B>) {
    let (upscaled, tuned) = upscaled(model);
    for text in texts("base-large + tuned-small - base-small").iter().filter(|t| t.kind != "short") {
        drafted_as_plain(&upscaled, &tuned, &text.question);
    }
}

/// All texts are the same if the small model drafts them.
pub(crate) fn drafts_everything<B: Backend>(model: impl Fn(&str) -> Source<B>) {
    let (upscaled, tuned) = upscaled(model);
    let parts = ["tuning", "validation", "test"];
    let kinds = ["short", "long", "portrait"];
    let files = parts.iter().flat_map(|part| kinds.map(|kind| format!("{part}-{kind}")));
    let asked: Vec<_> = files.flat_map(|file| questions(&file)).map(|q| q.question).collect();
    assert!(asked.len() > 1000);
    asked.iter().for_each(|question| drafted_as_plain(&upscaled, &tuned, question));
}

/// Nine values of α that are generated together write what each of them writes alone.
pub(crate) fn sweeps<B: Backend>(model: impl Fn(&str) -> Source<B>) {
    let (large, small, tuned) = (model("base-large"), model("base-small"), model("tuned-small"));
    let upscaled = |alpha: u8| &large + f32::from(alpha) * 0.25 * (&tuned - &small);
    let requests: Vec<_> =
        questions("test-short").iter().take(12).map(|q| Request::new(Prompt::chat(&q.question))).collect();
    for sampling in [Sampling::greedy(), Sampling::default().temperature(0.7).top_p(0.9).seed(3)] {
        let decoding = Decoding::from(sampling).max_tokens(30);
        let variants: Vec<_> = (0..9).map(|alpha| Variant::new(upscaled(alpha), &decoding)).collect();
        let mut texts = Joint::open(variants.clone(), requests.clone()).unwrap().text().unwrap();
        let mut together = vec![String::new(); 9 * requests.len()];
        for event in texts.by_ref() {
            if let TextEvent::Piece { row, piece } = event.unwrap() {
                together[row].push_str(&piece.text);
            }
        }
        let alone = variants.iter().flat_map(|variant| {
            let batch = variant.source.generate_batch(requests.clone(), &decoding).unwrap();
            batch.text().unwrap().read().into_iter().map(Result::unwrap)
        });
        assert_eq!(together, alone.collect::<Vec<_>>());
        let work = texts.into_inner().work();
        println!("{work:?}");
        assert!(work.row_steps < work.text_steps / 2);
    }
}
