//! Speculation and search over real decoders: the tiny golden checkpoints.
use std::path::PathBuf;

use eft_backend_candle::{Candle, CandleNn};
use eft_core::decode::Event;
use eft_core::score::implicit_reward;
use eft_core::search::{ChunkBeamSearch, ImplicitReward};
use eft_core::{Decoding, Sampling, Source, TokenId};
use eft_models::{Adapter, Checkpoint, DecoderEngine};

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "eft-models", "goldens", name].iter().collect()
}

/// A model and the same model under two adapters.
fn models() -> [Source<Candle>; 3] {
    let checkpoint = Checkpoint::open(folder("qwen2")).unwrap();
    let adapters = ["qwen2-lora", "qwen2-rslora"].map(|name| Adapter::open(folder(name)).unwrap());
    let nn = CandleNn::new(Candle::cpu());
    let base = Source::new(DecoderEngine::with_adapters(nn, &checkpoint, &adapters, None).unwrap());
    let (first, second) = (base.adapter("qwen2-lora").unwrap(), base.adapter("qwen2-rslora").unwrap());
    [base, first, second]
}

fn alone() -> Source<Candle> {
    let checkpoint = Checkpoint::open(folder("qwen2")).unwrap();
    Source::new(DecoderEngine::load(CandleNn::new(Candle::cpu()), &checkpoint, None).unwrap())
}

fn texts(batch: eft_core::decode::Batch<Candle>, rows: usize) -> Vec<Vec<TokenId>> {
    let mut texts = vec![Vec::new(); rows];
    for event in batch {
        if let Event::Token { row, token } = event.unwrap() {
            texts[row].push(token.id);
        }
    }
    texts
}

#[test]
fn drafted_texts_are_plain_ones() {
    let [base, first, second] = models();
    let prompts: Vec<Vec<TokenId>> = vec![vec![3, 14, 15], vec![9], vec![2, 6, 5, 3, 5]];
    let target = &base + 0.5 * (&first - &second);
    for sampling in [Sampling::greedy(), Sampling::default().temperature(0.6).top_p(0.9).seed(3)] {
        let decoding = Decoding::from(sampling).stop_ids([]).max_tokens(24);
        let plain = texts(target.generate_batch(prompts.clone(), &decoding).unwrap(), 3);
        // A term that shares the target's passes, an adapter of it, and the same weights as an engine of their own.
        for draft in [&base, &first, &alone()] {
            for block in [1, 4] {
                let speculative = target.speculate().draft(draft).block(block).same_text();
                let batch = speculative.generate_batch(prompts.clone(), &decoding).unwrap();
                assert_eq!(texts(batch, 3), plain, "drafted by {draft}, {block} at a time");
            }
            let batch =
                target.speculate().draft(draft).same_text().generate_batch(prompts.clone(), &decoding);
            assert_eq!(texts(batch.unwrap(), 3), plain, "drafted by {draft}");
        }
    }
}

#[test]
fn searches_sample_what_the_base_samples_and_score_what_the_guide_scores() {
    let [base, tuned, _] = models();
    let large = alone();
    let prompt = [3, 14, 15];
    let decoding = Decoding::from(Sampling::default().seed(4)).stop_ids([]).max_tokens(20);
    let search = || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &base)).decoding(&decoding);
    let plain = texts(large.generate_batch([prompt], &decoding).unwrap(), 1);
    let sampled = search().width(1).successors(1).chunk(7).run(prompt).unwrap();
    assert_eq!(sampled.best().continuation.tokens, plain[0]);
    let found = search().width(2).successors(3).chunk(4).run(prompt).unwrap();
    assert_eq!(found.drawn, 6 * 20);
    assert!(found.best().score >= sampled.best().score);
    for candidate in &found.candidates {
        let reward = implicit_reward(&tuned, &base, prompt, &candidate.continuation.tokens, 1.0).unwrap();
        assert!((candidate.score - reward.total).abs() < 1e-3);
    }
}
