//! Every family against transformers: logits of every position, and greedy texts.
use std::path::PathBuf;

use eft_backend_candle::{Candle, CandleNn};
use eft_core::conformance::{SourceTest, check_source, check_traffic};
use eft_core::decode::Event;
use eft_core::{Backend, Decoding, Joint, Prompt, Sampling, Source, TokenId};
use eft_models::{Adapter, Checkpoint, DecoderEngine, Error};
use safetensors::SafeTensors;

const FAMILIES: [&str; 14] = [
    "llama",
    "llama3",
    "llama-linear",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "gpt2",
    "falcon",
    "falcon-new",
    "phi3",
    "phi3-long",
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
    difference_from(family, family, source)
}

/// The same, of the goldens of an adapter of the family.
fn difference_from(goldens: &str, family: &str, source: &Source<Candle>) -> f32 {
    let bytes = std::fs::read(folder(goldens).join("golden.safetensors")).unwrap();
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

/// Adapters of the tiny checkpoints, by their base.
const ADAPTERS: [(&str, &[&str]); 3] = [
    ("qwen2", &["qwen2-lora", "qwen2-rslora"]),
    ("gpt2", &["gpt2-lora"]),
    ("falcon-new", &["falcon-new-lora"]),
];

fn adapted(base: &str, names: &[&str]) -> Source<Candle> {
    let checkpoint = Checkpoint::open(folder(base)).unwrap();
    let adapters: Vec<_> = names.iter().map(|name| Adapter::open(folder(name)).unwrap()).collect();
    let nn = CandleNn::new(Candle::cpu());
    Source::new(DecoderEngine::with_adapters(nn, &checkpoint, &adapters, None).unwrap())
}

#[test]
fn adapters_give_the_logits_of_peft() {
    for (base, names) in ADAPTERS {
        let source = adapted(base, names);
        let worst = difference(base, &source);
        assert!(worst <= TOLERANCE, "{base} under no adapter: {worst}");
        for name in names {
            let worst = difference_from(name, base, &source.adapter(name).unwrap());
            println!("{name:16} largest difference of a logit {worst:.1e}");
            assert!(worst <= TOLERANCE, "{name}: {worst}");
        }
    }
}

#[test]
fn rows_of_several_adapters_run_in_one_pass_as_they_do_alone() {
    let source = adapted("qwen2", &["qwen2-lora", "qwen2-rslora"]);
    let (first, second) = (source.adapter("qwen2-lora").unwrap(), source.adapter("qwen2-rslora").unwrap());
    let roots = [&source, &first, &second];
    let prompts: Vec<Prompt> = texts("qwen2").prompts.iter().map(Prompt::from).collect();
    let mut together = Joint::open(&roots, &prompts).unwrap();
    together.push(&[vec![3, 4], vec![], vec![5]]).unwrap();
    for (root, alone) in roots.into_iter().enumerate() {
        let mut alone = Joint::open(&[alone], &prompts).unwrap();
        alone.push(&[vec![3, 4], vec![], vec![5]]).unwrap();
        let (got, expected) = (together.eval_last(root).unwrap(), alone.eval_last(0).unwrap());
        let download = |scores: &eft_core::Scores<Candle>| {
            source.backend().download(&scores.last().unwrap(), scores.width()).unwrap()
        };
        for (a, b) in download(&got).iter().zip(download(&expected)) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
    let mixed = &source + 0.5 * (&first - &source) + 0.5 * (&second - &source);
    check_source(&mixed, &SourceTest::new(texts("qwen2").prompts).tolerance(1e-3))
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn an_adapter_of_another_base_is_refused_by_the_tensor() {
    let checkpoint = Checkpoint::open(folder("gpt2")).unwrap();
    let adapter = Adapter::open(folder("qwen2-lora")).unwrap();
    let nn = CandleNn::new(Candle::cpu());
    match DecoderEngine::with_adapters(nn, &checkpoint, &[adapter], None).map(drop) {
        Err(Error::BadTensor { tensor, .. }) => {
            assert_eq!(tensor, "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn half_precision_checkpoints_are_those_of_their_rounded_weights() {
    use half::{bf16, f16};
    let bytes = std::fs::read(folder("llama").join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    /// Bytes of a rounded number, and the number that they stand for.
    type Round = fn(f32) -> ([u8; 2], f32);
    let halves: [(safetensors::Dtype, Round); 2] = [
        (safetensors::Dtype::F16, |x| (f16::from_f32(x).to_le_bytes(), f16::from_f32(x).to_f32())),
        (safetensors::Dtype::BF16, |x| (bf16::from_f32(x).to_le_bytes(), bf16::from_f32(x).to_f32())),
    ];
    for (dtype, round) in halves {
        let written = [(dtype, true), (safetensors::Dtype::F32, false)].map(|(dtype, half)| {
            let data: Vec<_> = stored
                .tensors()
                .into_iter()
                .map(|(name, tensor)| {
                    let numbers =
                        tensor.data().chunks(4).map(|b| round(f32::from_le_bytes(b.try_into().unwrap())));
                    let bytes: Vec<u8> = match half {
                        true => numbers.flat_map(|(bytes, _)| bytes).collect(),
                        false => numbers.flat_map(|(_, number)| number.to_le_bytes()).collect(),
                    };
                    (name, tensor.shape().to_vec(), bytes)
                })
                .collect();
            let views = data.iter().map(|(name, shape, bytes)| {
                (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
            });
            let copy = tempfile::tempdir().unwrap();
            std::fs::copy(folder("llama").join("config.json"), copy.path().join("config.json")).unwrap();
            safetensors::serialize_to_file(views, None, &copy.path().join("model.safetensors")).unwrap();
            let checkpoint = Checkpoint::open(copy.path()).unwrap();
            let source =
                Source::new(DecoderEngine::load(CandleNn::new(Candle::cpu()), &checkpoint, None).unwrap());
            source.score([1, 5], &[9, 60, 33, 7]).unwrap()
        });
        assert_eq!(written[0], written[1], "{dtype:?}");
        assert_ne!(written[0], model("llama").score([1, 5], &[9, 60, 33, 7]).unwrap(), "nothing was rounded");
    }
}
