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

#[test]
fn a_prompt_that_several_rows_have_is_read_once() {
    let prompts =
        [vec![1, 2, 3, 4, 5, 6], vec![2, 2], vec![1, 2, 3, 4, 5, 6], vec![1, 2, 3, 4, 5, 6], vec![2, 2]];
    let texts: [&[TokenId]; 5] = [&[1, 2], &[3, 1], &[0, 4, 5], &[], &[6]];
    let (model, counts) = counted("m", 3, &[]);
    let (other, of_other) = counted("n", 4, &[]);
    let source = &model + 0.5 * &other;
    let scored = source.score_batch(prompts.iter().cloned().zip(texts.map(<[_]>::to_vec))).unwrap();
    // The two prompts, and all but the last token of each text.
    for counts in [counts, of_other] {
        assert_eq!(counts.take().1, 6 + 2 + (1 + 1 + 2));
    }
    for (score, (prompt, text)) in scored.iter().zip(prompts.iter().zip(texts)) {
        assert_eq!(*score, source.score(prompt.clone(), text).unwrap());
    }
}

#[test]
fn an_error_names_the_row_of_the_whole_batch() {
    let (model, _) = counted("m", 3, &[]);
    let pairs = [vec![1], vec![1], vec![]].map(|prompt: Vec<TokenId>| (prompt, vec![2]));
    let error = model.score_batch(pairs).unwrap_err();
    assert!(matches!(error, eft_core::Error::EmptyPrompt { row: 2, .. }), "{error:?}");
}
