//! Real models against llama.cpp, which quantises activations to 8 bits too. The models are those in the folder that
//! `EFT_MODELS` names, for which `llama_cpp_reference.py` has written the results of llama.cpp beside them.
use std::path::{Path, PathBuf};

use eft_backend_candle::load_gguf;
use eft_core::TokenId;

use super::dequantised;
use super::scores::{difference, scores};
use crate::device::candle;

fn reference(model: &Path, kind: &str) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(format!(".llama_cpp.{kind}"));
    name.into()
}

/// Returns the most likely token, and its lead over the second in logits.
fn lead(row: &[f32]) -> (usize, f32) {
    let first = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let second = (0..row.len()).filter(|i| *i != first).map(|i| row[i]).fold(f32::NEG_INFINITY, f32::max);
    (first, row[first] - second)
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
    let sum: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
    row.iter().map(|x| f64::from(x - largest) - sum.ln()).collect()
}

/// Returns `KL(p ‖ q)` in nats.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let terms = log_softmax(p).into_iter().zip(log_softmax(q));
    terms.map(|(p, q)| if p > -700.0 { p.exp() * (p - q) } else { 0.0 }).sum()
}

#[test]
fn quantised_models_score_as_llama_cpp_runs_them() {
    let Some(folder) = std::env::var_os("EFT_MODELS") else {
        println!("SKIPPED: EFT_MODELS names no folder of GGUF files");
        return;
    };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|file| reference(file, "json").exists()) {
        let source = load_gguf(&file, &candle()).unwrap();
        let ids = std::fs::read(reference(&file, "json")).unwrap();
        let texts: Vec<Vec<TokenId>> = serde_json::from_slice(&ids).unwrap();
        let logits = std::fs::read(reference(&file, "f32")).unwrap();
        let logits: Vec<f32> = logits.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        // llama.cpp may return more logits, for ids without a token.
        let positions: usize = texts.iter().map(Vec::len).sum();
        let theirs = logits.len() / positions;
        let exact = dequantised(&file);
        let mut rest = logits.chunks(theirs);
        let (mut worst, mut same, mut leads) = (0.0f32, 0, Vec::new());
        let mut kl = [0.0; 3];
        for text in &texts {
            let (got, exact) = (scores(&source, text), scores(&exact, text));
            let width = got.len() / text.len();
            for ((got, exact), expected) in got.chunks(width).zip(exact.chunks(width)).zip(&mut rest) {
                let expected = &expected[..width];
                worst = worst.max(difference(got, expected));
                let pairs = [(expected, got), (exact, got), (exact, expected)];
                kl.iter_mut().zip(pairs).for_each(|(sum, (p, q))| *sum += divergence(p, q));
                let ((first, by), (ours, _)) = (lead(expected), lead(got));
                same += usize::from(first == ours);
                if first != ours {
                    leads.push(by);
                }
            }
        }
        let [mean, ours, theirs] = kl.map(|sum| sum / positions as f64);
        println!(
            "{}: {positions} positions: largest difference of a logit {worst:.2}, mean KL {mean:.2e} nats, the same \
             first token at {same}; KL from the dequantised model {ours:.2e}, that of llama.cpp {theirs:.2e}",
            file.display()
        );
        let largest = leads.iter().fold(0.0f32, |m, x| m.max(*x));
        assert!(
            largest <= worst,
            "a lead of {largest} was lost, although no logit differs by more than {worst}"
        );
        assert!(ours < 0.01, "{ours}");
        // llama.cpp rounds activations more coarsely, and may itself be far from the dequantised model.
        let most = if theirs < 0.01 { 0.01 } else { 0.01 + theirs };
        assert!(mean < most, "{mean}, {theirs}");
    }
}
