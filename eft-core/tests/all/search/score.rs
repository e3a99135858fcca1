//! The log-probabilities of given texts: how much memory a pass takes.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use eft_core::{EngineSpec, FnEngine, Host, Source, TokenId, Vocab};

use crate::common::*;

#[test]
fn the_memory_of_a_pass_is_bounded_over_all_rows() {
    const VOCABULARY: usize = 50_000;
    let counts = Arc::new(Counts::default());
    let spec = EngineSpec::new("wide", Host, Vocab::anonymous("wide", VOCABULARY).unwrap());
    let inner = FnEngine::new(spec, |_| Ok(vec![0.0; VOCABULARY]));
    let wide = Source::new(Counting { inner, counts: counts.clone() });
    // 1152 positions in all: 230 MB of scores.
    let texts: Vec<(_, Vec<TokenId>)> = (0..64).map(|row| ([row], vec![7; 16 + row as usize % 5])).collect();
    let scored = wide.score_batch(texts.clone()).unwrap();
    for (score, (_, text)) in scored.iter().zip(&texts) {
        assert_eq!(score.tokens.len(), text.len());
        assert_near(&score.tokens, &vec![-(VOCABULARY as f32).ln(); text.len()], 1e-4);
    }
    let bytes = counts.most_scored.load(Ordering::SeqCst) * VOCABULARY * size_of::<f32>();
    assert!(bytes <= 128 << 20, "{bytes} bytes in one pass");
}
