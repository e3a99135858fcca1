//! Every family against transformers: logits of every position, and greedy texts.
use std::path::PathBuf;

use eft_backend_candle::{Candle, CandleNn};
use eft_core::conformance::{SourceTest, check_source, check_traffic};
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Joint, Prompt, Sampling, Source, TokenId};
use eft_models::{Checkpoint, DecoderEngine};
use safetensors::SafeTensors;

const FAMILIES: [&str; 12] = [
    "llama",
    "llama3",
    "llama-linear",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "gpt2",
    "falcon",
    "falcon-new",
    "phi3",
];

/// No logit may be further off.
const TOLERANCE: f32 = 2e-3;

fn folder(family: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "eft-models", "goldens", family].iter().collect()
}

fn model(family: &str) -> Source<Candle> {
    let checkpoint = Checkpoint::open(folder(family)).unwrap();
    Source::new(DecoderEngine::load(CandleNn::new(Candle::cpu()), &checkpoint, None).unwrap())
}

struct Texts {
    prompts: Vec<Vec<TokenId>>,
    greedy: Vec<Vec<TokenId>>,
}

fn texts(family: &str) -> Texts {
    let json = std::fs::read(folder(family).join("golden.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let lists = |name: &str| serde_json::from_value(json[name].clone()).unwrap();
    Texts { prompts: lists("prompts"), greedy: lists("greedy") }
}

/// The largest difference of any logit, over all positions of all prompts.
fn difference(family: &str, source: &Source<Candle>) -> f32 {
    let bytes = std::fs::read(folder(family).join("golden.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let mut worst = 0.0f32;
    for (i, prompt) in texts(family).prompts.iter().enumerate() {
        let golden = goldens.tensor(&format!("logits.{i}")).unwrap();
        let expected = golden.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        // The first token as the prompt, all others after it: every position is scored.
        let mut joint = Joint::open(&[source], &[Prompt::from(&prompt[..1])]).unwrap();
        joint.push(&[prompt[1..].to_vec()]).unwrap();
        let scores = joint.eval_from(0, &[0]).unwrap();
        let got = source.backend().download(&scores.positions(0), scores.width()).unwrap();
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().all(|x| x.is_finite()));
        worst = got.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    worst
}

#[test]
fn logits_are_those_of_transformers() {
    for family in FAMILIES {
        let worst = difference(family, &model(family));
        println!("{family:14} largest difference of a logit {worst:.1e}");
        assert!(worst <= TOLERANCE, "{family}: {worst}");
    }
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    for family in FAMILIES {
        let texts = texts(family);
        let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(32);
        let mut got = vec![Vec::new(); texts.prompts.len()];
        for event in model(family).generate_batch(texts.prompts, decoding).unwrap() {
            if let Event::Token { row, token } = event.unwrap() {
                got[row].push(token.id);
            }
        }
        assert_eq!(got, texts.greedy, "{family}");
    }
}

#[test]
fn every_family_obeys_the_laws_of_sources() {
    for family in FAMILIES {
        let source = model(family);
        let test = SourceTest::new(texts(family).prompts).tolerance(1e-3);
        check_source(&source, &test.clone().steps(30)).unwrap_or_else(|e| panic!("{family}: {e}"));
        check_traffic(&source, &test).unwrap_or_else(|e| panic!("{family}: {e}"));
    }
}

#[test]
fn long_prompts_are_read_in_pieces_and_give_the_same() {
    let source = model("mistral");
    // The context of the tiny models is 128; seven rows of 100 tokens are more than one pass takes.
    let prompts: Vec<Vec<TokenId>> =
        (0..7).map(|row| (0..100).map(|i| (i * 7 + row * 13) % 96).collect()).collect();
    let together = source.generate_batch(prompts.clone(), Decoding::from(Sampling::greedy()).max_tokens(4));
    let mut texts = vec![Vec::new(); prompts.len()];
    for event in together.unwrap() {
        if let Event::Token { row, token } = event.unwrap() {
            texts[row].push(token.id);
        }
    }
    for (prompt, text) in prompts.iter().zip(texts) {
        let alone = source.generate(prompt, Decoding::from(Sampling::greedy()).max_tokens(4)).unwrap();
        assert_eq!(alone.map(|t| t.unwrap().id).collect::<Vec<_>>(), text);
    }
}
