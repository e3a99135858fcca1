//! Settings that are refused, contexts that fill up, and models that fail.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eft_core::search::{ChunkBeamSearch, Continuation, Guide, ImplicitReward};
use eft_core::{Decoding, Error, Host, Prompt, Sampling, Source, TokenId};

use super::{models, reward};
use crate::common::*;

#[test]
fn invalid_settings_are_refused_by_name() {
    let [large, tuned, untuned] = models();
    let search = || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned));
    let parameter = |search: ChunkBeamSearch<'_>| match search.run([1]) {
        Err(Error::InvalidParameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(parameter(search().width(0)), "width");
    assert_eq!(parameter(search().successors(0)), "successors");
    assert_eq!(parameter(search().chunk(0)), "chunk");
    assert_eq!(parameter(search().decoding(Sampling::default().top_p(2.0))), "top_p");
    let nan = |_: &Prompt, _: &Continuation| Ok(f64::NAN);
    assert_eq!(parameter(ChunkBeamSearch::new(&large, nan)), "score of a guide");
    let result = search().decoding(Decoding::default().alternatives(2)).run([1]);
    assert!(matches!(result, Err(Error::Unsupported { .. })));
    // The search also ends when the context of the guide is full. Its candidates are the texts generated until then.
    let short = short_model("short", 2, 5);
    let decoding = Decoding::default().stop_ids([]).max_tokens(20);
    let result =
        ChunkBeamSearch::new(&large, ImplicitReward::new(&short, &untuned)).decoding(decoding).run([1, 2]);
    assert!(result.unwrap().candidates.iter().all(|c| c.continuation.tokens.len() == 4));
    let guide: &dyn Guide = &nan;
    assert!(guide.open(&[1].into(), None).is_ok());
}

/// A model that fails as long as `failing` is set.
fn failing_model(name: &'static str, seed: u64, failing: &Arc<AtomicBool>) -> Source<Host> {
    let failing = failing.clone();
    eft_core::from_fn(Host, vocab(name), move |tokens| match failing.load(Ordering::SeqCst) {
        true => Err(Error::source(name, "out of memory")),
        false => Ok(logits(seed, tokens, WIDTH)),
    })
}

fn continuation(tokens: &[TokenId]) -> Continuation {
    let mut continuation = Continuation::default();
    continuation.tokens = tokens.to_vec();
    continuation
}

#[test]
fn a_guide_whose_model_failed_scores_correctly_when_called_again() {
    let [tuned_fails, untuned_fails] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let tuned = failing_model("tuned", 2, &tuned_fails);
    let untuned = failing_model("untuned", 3, &untuned_fails);
    let guide = ImplicitReward::new(&tuned, &untuned);
    for fails in [&tuned_fails, &untuned_fails] {
        let mut session = guide.open(&[1].into(), Some(tuned.vocab())).unwrap();
        // The second text has another token in the middle, so the guide rolls back before its models fail.
        let (first, second) = (continuation(&[1, 2, 3]), continuation(&[1, 4, 5, 6]));
        session.score(&[&first]).unwrap();
        fails.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            assert!(matches!(session.score(&[&second]), Err(Error::Source { .. })));
        }
        fails.store(false, Ordering::SeqCst);
        for text in [&second, &first, &second] {
            let (score, expected) =
                (session.score(&[text]).unwrap()[0].unwrap(), reward(&tuned, &untuned, &[1], &text.tokens));
            assert!((score - expected).abs() < 1e-4, "{score}, not {expected}, for {:?}", text.tokens);
        }
    }
}
