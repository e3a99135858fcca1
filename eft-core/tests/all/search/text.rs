//! Guides with another vocabulary than the base, and bases that only sample text.
use std::sync::{Arc, Mutex};

use eft_core::decode::FinishReason;
use eft_core::sample::LogitBias;
use eft_core::search::{BlackBox, Candidate, ChunkBeamSearch, ImplicitReward, SampledText};
use eft_core::{
    Decoding, EngineSpec, Error, FnEngine, Host, Prompt, Renderer, Result, Source, TokenId, Vocab,
};

use super::reward;
use crate::common::*;

/// Renders text as tokens of one letter each, or as tokens of pairs of letters and single letters.
struct Letters {
    pairs: bool,
}

impl Letters {
    fn ids(&self, text: &str) -> Vec<TokenId> {
        let letters: Vec<_> = text.bytes().map(|b| u32::from(b - b'a')).collect();
        match self.pairs {
            false => letters,
            // The ids of pairs come before those of single letters. A text with an odd number of letters ends in a
            // single letter, which becomes part of a pair when the text continues.
            true => letters
                .chunks(2)
                .map(|c| if let [a, b] = c { a * WIDTH as u32 + b } else { (WIDTH * WIDTH) as u32 + c[0] })
                .collect(),
        }
    }
}

impl Renderer for Letters {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids.clone()),
            Prompt::Text(text) => Ok(self.ids(text)),
            Prompt::Chat(_) => Err(Error::CannotRender {
                term: term.into(),
                what: prompt.form(),
                missing: "a template".into(),
            }),
        }
    }

    fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
        Ok(self.ids(text))
    }
}

/// A model whose tokens are pairs of letters, and single letters.
fn pairs(name: &str, seed: u64) -> Source<Host> {
    pairs_of_context(name, seed, usize::MAX)
}

fn pairs_of_context(name: &str, seed: u64, context: usize) -> Source<Host> {
    let letter = |i: usize| b'a' + i as u8;
    let singles = (0..WIDTH).map(|i| vec![letter(i)]);
    let doubles = (0..WIDTH * WIDTH).map(|i| vec![letter(i / WIDTH), letter(i % WIDTH)]);
    let end = (WIDTH + WIDTH * WIDTH) as TokenId;
    let vocab = Vocab::new(name, doubles.chain(singles).chain([b"<end>".to_vec()])).unwrap();
    let vocab = vocab.with_eos([end]).unwrap();
    let width = vocab.width();
    let spec = EngineSpec::new(name, Host, vocab).context(context);
    Source::new(FnEngine::new(spec, move |row| Ok(logits(seed, &row.tokens, width))))
        .rendered_by(Letters { pairs: true })
        .unwrap()
}

#[test]
fn a_guide_with_another_vocabulary_scores_the_text() {
    let large = model("large", 1).rendered_by(Letters { pairs: false }).unwrap();
    let (tuned, untuned) = (pairs("tuned", 2), pairs("untuned", 3));
    for chunk in [1, 2, 3] {
        let search =
            ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)).chunk(chunk).max_tokens(9);
        let result = search.run("abc").unwrap();
        assert!(result.candidates.len() >= 2);
        for Candidate { continuation, score } in &result.candidates {
            let mut ids = tuned.continuation(&continuation.to_text()).unwrap();
            if continuation.end == Some(FinishReason::EndOfSequence(10)) {
                ids.extend(tuned.vocab().eos());
            }
            let expected = reward(&tuned, &untuned, &tuned.render("abc").unwrap(), &ids);
            assert!(
                (score - expected).abs() < 1e-3,
                "{score}, not {expected}, chunk {chunk}: {continuation:?}"
            );
        }
    }
    let refused = |search: ChunkBeamSearch<'_>, prompt: Prompt| match search.run(prompt) {
        Err(Error::Unsupported { .. }) => {}
        other => panic!("{other:?}"),
    };
    refused(ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned)), [1].into());
    let nameless = eft_core::from_fn(Host, Vocab::anonymous("?", 4).unwrap(), |_| Ok(vec![0.0; 4]));
    refused(ChunkBeamSearch::new(&nameless, ImplicitReward::new(&tuned, &untuned)), [1].into());
}

#[test]
fn a_black_box_that_only_samples_text_can_be_the_base() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let service = BlackBox::new(move |prompt: &Prompt, text: &str, tokens, number| {
        assert_eq!(prompt, &"abc".into());
        seen.lock().unwrap().push((number, text.len()));
        let letters = (0..tokens as u64).map(|i| char::from(b'a' + ((number * 7 + i) % 9) as u8));
        Ok(SampledText { text: letters.collect(), tokens, ended: text.len() >= 4 && number % 3 == 0 })
    });
    let (tuned, untuned) = (pairs("tuned", 2), pairs("untuned", 3));
    let search = ChunkBeamSearch::new(&service, ImplicitReward::new(&tuned, &untuned));
    let result = search.width(2).successors(2).chunk(2).max_tokens(8).run("abc").unwrap();
    for Candidate { continuation, score } in &result.candidates {
        let mut ids = tuned.continuation(&continuation.to_text()).unwrap();
        ids.extend(tuned.vocab().eos().iter().filter(|_| continuation.end == Some(FinishReason::Ended)));
        assert!((score - reward(&tuned, &untuned, &tuned.render("abc").unwrap(), &ids)).abs() < 1e-3);
    }
    let calls = calls.lock().unwrap();
    assert_eq!(result.drawn, 2 * calls.len());
    assert!(calls.iter().enumerate().all(|(i, (number, _))| i as u64 == *number), "a number for each call");
}

#[test]
fn a_text_that_outgrows_the_guides_context_ends() {
    let large = model("large", 1).rendered_by(Letters { pairs: false }).unwrap();
    // The prompt takes two of six tokens. Four more can be read and one more scored: five pairs, or ten letters.
    let (tuned, untuned) = (pairs_of_context("tuned", 2, 6), pairs("untuned", 3));
    // The base's end-of-sequence token has no text, so it is excluded: every token is a letter.
    let letters_only = LogitBias::new([(WIDTH as TokenId - 1, f32::NEG_INFINITY)]).unwrap();
    let decoding = Decoding::default().stop_ids([]).max_tokens(40).processor(letters_only);
    let search = ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &untuned));
    let result = search.width(2).successors(3).chunk(3).decoding(decoding).run("abcd").unwrap();
    assert_eq!(result.candidates.len(), 2);
    for Candidate { continuation, score } in &result.candidates {
        // A fourth chunk of three letters would not fit.
        assert_eq!((continuation.tokens.len(), &continuation.end), (9, &Some(FinishReason::ContextFull)));
        let ids = tuned.continuation(&continuation.to_text()).unwrap();
        let expected = reward(&tuned, &untuned, &tuned.render("abcd").unwrap(), &ids);
        assert!((score - expected).abs() < 1e-3, "{score}, not {expected}");
    }
}
