//! The tiny exported models in `goldens/`, and their reference outputs.
use std::error::Error;
use std::path::PathBuf;

use eft_backend_ort::{Options, Ort, load};
use eft_core::conformance::test_device;
use eft_core::{Backend, Evaluator, Prompt, Source, TokenId};
use safetensors::SafeTensors;

/// The folder of an exported model.
pub(crate) fn exported(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "goldens", name].iter().collect()
}

/// The folder of a checkpoint that models were exported from, with transformers' reference outputs.
pub(crate) fn checkpoint(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "eft-models", "goldens", name].iter().collect()
}

pub(crate) fn model(name: &str) -> Source<Ort> {
    load(exported(name), &ort(), None).unwrap()
}

/// The backend; without the library, a panic that says how to get it.
pub(crate) fn ort() -> Ort {
    let options = test_device().and_then(|device| Options::default().on(device));
    Ort::new(&options.unwrap_or_else(|error| panic!("{error}"))).unwrap_or_else(|e| {
        panic!(
            "these tests need ONNX Runtime, which eft-backend-ort/get-onnxruntime downloads: {}",
            causes(&e)
        )
    })
}

/// The messages of an error and of its sources.
pub(crate) fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |error| (**error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Prompts, with the logits and the greedy texts of a reference implementation.
pub(crate) struct Golden {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    pub(crate) greedy: Vec<Vec<TokenId>>,
    /// For each prompt, the logits of all its positions, one position after another.
    pub(crate) logits: Vec<Vec<f32>>,
}

impl Golden {
    pub(crate) fn read(folder: PathBuf) -> Self {
        let json = std::fs::read(folder.join("golden.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let lists = |name: &str| -> Vec<Vec<TokenId>> { serde_json::from_value(json[name].clone()).unwrap() };
        let bytes = std::fs::read(folder.join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let logits = |i: usize| {
            let tensor = tensors.tensor(&format!("logits.{i}")).unwrap();
            tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let prompts = lists("prompts");
        Self { logits: (0..prompts.len()).map(logits).collect(), prompts, greedy: lists("greedy") }
    }

    /// The largest absolute difference between a logit of `source` and its reference.
    pub(crate) fn difference(&self, source: &Source<Ort>) -> f32 {
        let mut worst = 0.0f32;
        for (prompt, expected) in self.prompts.iter().zip(&self.logits) {
            // The prompt is the first token only, since no position within a prompt is scored.
            let mut evaluator = Evaluator::open(&[source], &[Prompt::from(&prompt[..1])]).unwrap();
            evaluator.push(&[prompt[1..].to_vec()]).unwrap();
            let scores = evaluator.eval_from(0, &[0]).unwrap();
            let got = source.backend().download(&scores.positions(0), scores.width()).unwrap();
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().all(|x| x.is_finite()));
            worst = got.iter().zip(expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        worst
    }
}
