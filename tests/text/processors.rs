//! Processors, compared with transformers and with plain definitions.
use std::collections::BTreeSet;

use eft::sample::{
    BadWords, Cut, Dry, DynamicTemperature, ForbiddenSequences, History, Mirostat, NoRepeatNgram, Processor,
    TopA, TopNSigma, Truncation, Typical, Xtc,
};
use eft::{Decoding, Edit, Host, Pick, Sampling, TokenId, Vocab, from_fn};
use proptest::prelude::*;
use serde_json::Value;

use crate::json;

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

/// The biases of the next token.
fn biases(processor: &dyn Processor, tokens: &[TokenId]) -> Vec<(TokenId, f32)> {
    let edits = processor.edits(&History::new(tokens)).unwrap();
    let of = |edit: Edit| match edit {
        Edit::Bias(biases) => biases,
        other => panic!("{other:?}"),
    };
    edits.into_iter().flat_map(of).collect()
}

/// The tokens that are excluded, and no other change.
fn excluded(processor: &dyn Processor, tokens: &[TokenId]) -> Vec<TokenId> {
    let biases = biases(processor, tokens);
    assert!(biases.iter().all(|(_, bias)| *bias == f32::NEG_INFINITY));
    biases.into_iter().map(|(token, _)| token).collect()
}

#[test]
fn they_do_what_the_references_do() {
    for case in json("processors/golden.json").as_array().unwrap() {
        let tokens = ids(&case["tokens"]);
        // A prompt counts as generated tokens do.
        let (prompt, generated) = tokens.split_at(tokens.len() / 2);
        let split = History::new(generated).with_prompt(prompt);
        for (length, expected) in case["ngrams"].as_object().unwrap() {
            let processor = NoRepeatNgram::new(length.parse().unwrap()).unwrap();
            assert_eq!(excluded(&processor, &tokens), ids(expected), "{length}: {tokens:?}");
            assert_eq!(processor.edits(&split).unwrap(), processor.edits(&History::new(&tokens)).unwrap());
        }
        let words: Vec<_> = case["words"].as_array().unwrap().iter().map(ids).collect();
        let processor = ForbiddenSequences::new(words.clone()).unwrap();
        assert_eq!(excluded(&processor, &tokens), ids(&case["forbidden"]), "{words:?}: {tokens:?}");

        let settings = &case["dry"];
        let number = |name: &str| settings[name].as_f64().unwrap() as f32;
        let size = |name: &str| settings[name].as_u64().unwrap() as usize;
        let dry =
            Dry::new(number("multiplier")).unwrap().base(number("base")).unwrap().allowed(size("allowed"));
        let dry = if size("window") == 0 { dry } else { dry.window(size("window")) };
        let found = biases(&dry.breakers(ids(&settings["breakers"])), &tokens);
        let expected = case["penalties"].as_object().unwrap();
        assert_eq!(found.len(), expected.len(), "{case}");
        for (token, bias) in found {
            let penalty = expected[&token.to_string()].as_f64().unwrap() as f32;
            assert!((bias + penalty).abs() <= 1e-5 * penalty, "{case}");
        }
    }
}

/// The tokens that a model of these scores can draw.
fn drawn(scores: &[f32], truncation: impl Truncation + Clone + 'static) -> Vec<TokenId> {
    let vocab = Vocab::new("eight", ["a", "b", "c", "d", "e", "f", "g", "h"]).unwrap();
    let scores = scores.to_vec();
    let model = from_fn(Host, vocab, move |_| Ok(scores.clone()));
    let mut found = BTreeSet::new();
    for seed in 0..400 {
        let sampling = Sampling::default().temperature(1.0).seed(seed);
        let decoding = Decoding::from(sampling).max_tokens(1).truncation(truncation.clone());
        let batch = model.generate_batch([[0], [1]], decoding).unwrap();
        for event in batch {
            if let eft::decode::Event::Token { token, .. } = event.unwrap() {
                found.insert(token.id);
            }
        }
    }
    found.into_iter().collect()
}

#[test]
fn truncations_keep_what_the_references_keep() {
    for case in json("processors/truncations.json").as_array().unwrap() {
        let top = picks(&scores(&case["scores"]));
        let kept = |cut: Cut| -> Vec<TokenId> {
            let keeps = |pick: &&Pick| match &cut {
                Cut::Tokens(tokens) => !tokens.contains(&pick.token),
                Cut::Keep(tokens) => tokens.contains(&pick.token),
                Cut::Below(fraction) => (pick.log_prob - top[0].log_prob).exp() >= *fraction,
                _ => true,
            };
            let mut kept: Vec<_> = top.iter().filter(keeps).map(|pick| pick.token).collect();
            kept.sort_unstable();
            kept
        };
        for (a, expected) in case["top_a"].as_object().unwrap() {
            let truncation = TopA::new(a.parse().unwrap()).unwrap();
            assert_eq!(
                kept(truncation.cut(&top[..truncation.candidates()], 0.5)),
                ids(expected),
                "{a}: {case}"
            );
        }
        for (threshold, expected) in case["xtc"].as_object().unwrap() {
            let xtc = Xtc::new(threshold.parse().unwrap(), 0.5).unwrap();
            let seen = &top[..xtc.candidates().min(top.len())];
            assert_eq!(kept(xtc.cut(seen, 0.49)), ids(expected), "{threshold}: {case}");
            assert_eq!(xtc.cut(seen, 0.5), Cut::Nothing);
            assert_eq!(xtc.clone().keeping(0..8).cut(seen, 0.0), Cut::Nothing);
        }
        for (mass, expected) in case["typical"].as_object().unwrap() {
            let typical = Typical::new(mass.parse().unwrap()).unwrap();
            assert_eq!(kept(typical.cut(&top, 0.5)), ids(expected), "{mass}: {case}");
        }
        for (n, expected) in case["top_n_sigma"].as_object().unwrap() {
            let top_n_sigma = TopNSigma::new(n.parse().unwrap()).unwrap();
            assert_eq!(kept(top_n_sigma.cut(&top, 0.5)), ids(expected), "{n}: {case}");
        }
        for (settings, expected) in case["dynamic_temperature"].as_object().unwrap() {
            let settings: Vec<f32> = settings.split(' ').map(|x| x.parse().unwrap()).collect();
            let dynamic = DynamicTemperature::new(settings[0], settings[1]).unwrap();
            let Cut::Temperature(found) = dynamic.exponent(settings[2]).unwrap().cut(&top, 0.5) else {
                panic!("{case}")
            };
            assert!((f64::from(found) - expected.as_f64().unwrap()).abs() < 1e-5, "{found}: {case}");
        }
    }
}

fn scores(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// All tokens of these scores, likeliest first.
fn picks(scores: &[f32]) -> Vec<Pick> {
    let sum: f32 = scores.iter().map(|x| x.exp()).sum();
    let mut picks: Vec<_> =
        (0..).zip(scores).map(|(token, x)| Pick { token, log_prob: (x.exp() / sum).ln() }).collect();
    picks.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
    picks
}

#[test]
fn mirostat_keeps_what_the_reference_keeps_also_after_rollbacks() {
    for text in json("processors/mirostat.json").as_array().unwrap() {
        let number = |name: &str| text[name].as_f64().unwrap() as f32;
        let mirostat = Mirostat::new(number("tau"), number("eta")).unwrap();
        let mut tokens: Vec<TokenId> = Vec::new();
        for (index, step) in text["steps"].as_array().unwrap().iter().enumerate() {
            let top = picks(&scores(&step["scores"]));
            let kept = |tokens: &[TokenId], top: &[Pick]| {
                let Cut::Keep(mut kept) = mirostat.cut_after(&History::new(tokens), top, 0.5) else {
                    panic!()
                };
                kept.sort_unstable();
                kept
            };
            assert_eq!(kept(&tokens, &top), ids(&step["kept"]), "{index}: {step}");
            if index % 3 == 0 {
                // A draft of other tokens, with other scores, is rolled back.
                let mut draft = tokens.clone();
                for token in [7, 0, 3] {
                    kept(&draft, &picks(&[0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0]));
                    draft.push(token);
                }
                kept(&tokens, &top);
            }
            tokens.push(step["drawn"].as_u64().unwrap() as TokenId);
        }
    }
}

#[test]
fn truncations_that_depend_on_the_text_are_the_same_for_drafts_and_in_batches() {
    let vocab = Vocab::new("eight", ["a", "b", "c", "d", "e", "f", "g", "h"]).unwrap();
    let model = |name: &str, step: u32| {
        from_fn(Host, vocab.clone().named(name), move |ids| {
            let last = ids[ids.len() - 1];
            Ok((0..8).map(|id| ((id + last * step + ids.len() as u32 * 5) % 7) as f32 * 0.9).collect())
        })
    };
    let (target, draft) = (model("target", 3), model("draft", 4));
    let decoding = || {
        let sampling = Sampling::default().seed(11);
        Decoding::from(sampling).max_tokens(60).truncation(Mirostat::new(1.2, 0.7).unwrap())
    };
    let written = |generation: eft::decode::Generation<Host>| -> Vec<TokenId> {
        generation.map(|token| token.unwrap().id).collect()
    };
    let plain = written(target.generate([1], decoding()).unwrap());
    for length in [1, 3, 5] {
        let drafted = target.speculate().draft(&draft).block(length).same_text();
        assert_eq!(written(drafted.generate([1], decoding()).unwrap()), plain);
    }
    let mut rows = vec![Vec::new(); 3];
    for event in target.generate_batch([[1], [2], [1]], decoding()).unwrap() {
        if let eft::decode::Event::Token { row, token } = event.unwrap() {
            rows[row].push(token.id);
        }
    }
    assert_eq!(rows[0], plain);
    // The bound matters: without it, the text is another one.
    let unbounded = Decoding::from(Sampling::default().seed(11)).max_tokens(60);
    assert_ne!(written(target.generate([1], unbounded).unwrap()), plain);
}

#[test]
fn truncations_apply_to_what_is_drawn() {
    let case = &json("processors/truncations.json")[12];
    let scores = scores(&case["scores"]);
    let (a, threshold) = (TopA::new(1.0).unwrap(), Xtc::new(0.1, 1.0).unwrap());
    assert_eq!(drawn(&scores, a), ids(&case["top_a"]["1.0"]));
    let kept: Vec<_> = drawn(&scores, threshold);
    let expected = ids(&case["xtc"]["0.1"]);
    // Tokens of a small probability may not have been drawn.
    assert!(
        kept.iter().all(|id| expected.contains(id)) && kept.len() + 2 >= expected.len(),
        "{kept:?} {expected:?}"
    );
    let typical = drawn(&scores, Typical::new(0.5).unwrap());
    assert_eq!(typical, ids(&case["typical"]["0.5"]));
    assert_eq!(drawn(&scores, TopNSigma::new(1.0).unwrap()), ids(&case["top_n_sigma"]["1.0"]));
    // At a temperature of nearly 0, only the likeliest token is drawn.
    assert_eq!(drawn(&scores, DynamicTemperature::new(0.001, 0.001).unwrap()), [picks(&scores)[0].token]);
    // Greedy decoding ignores truncations.
    let vocab = Vocab::new("eight", ["a", "b", "c", "d", "e", "f", "g", "h"]).unwrap();
    let model = from_fn(Host, vocab, move |_| Ok(scores.clone()));
    let greedy =
        |decoding: Decoding| model.generate([0], decoding.max_tokens(1)).unwrap().next().unwrap().unwrap().id;
    let with = Decoding::from(Sampling::greedy()).truncation(Xtc::new(0.05, 1.0).unwrap());
    assert_eq!(greedy(with), greedy(Decoding::from(Sampling::greedy())));
}

#[test]
fn speculation_draws_from_the_truncated_distribution() {
    let vocab = Vocab::new("abc", ["a", "b", "c"]).unwrap();
    let model = |name: &str, logits: [f32; 3]| {
        from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.map(f32::ln).to_vec()))
    };
    let (target, draft) = (model("target", [0.5, 0.3, 0.2]), model("draft", [0.8, 0.1, 0.1]));
    let decoding = |seed| {
        Decoding::from(Sampling::default().seed(seed)).truncation(Xtc::new(0.25, 1.0).unwrap()).max_tokens(40)
    };
    let mut counts = [0usize; 3];
    for seed in 0..60 {
        let speculative = target.speculate().draft(&draft).block(3);
        for token in speculative.generate([0], decoding(seed)).unwrap() {
            counts[token.unwrap().id as usize] += 1;
        }
    }
    // Token 0 is excluded; the others keep their ratio of 3 to 2.
    let share = counts[1] as f64 / 2400.0;
    assert!(counts[0] == 0 && (share - 0.6).abs() < 0.05, "{counts:?}");
}

const TOKENS: [&str; 10] = ["a", "b", "ab", "ba", "c", "abc", "é", "ca", "aa", "<end>"];

fn vocab() -> Vocab {
    Vocab::new("letters", TOKENS).unwrap().with_special([9]).unwrap()
}

proptest! {
    #[test]
    fn no_token_completes_a_bad_word(
        tokens in prop::collection::vec(0u32..10, 0..8),
        words in prop::collection::vec("[abc\u{e9}]{1,4}", 0..4),
    ) {
        let vocab = vocab();
        let text = |tokens: &[TokenId]| String::from_utf8_lossy(&vocab.decode(tokens)).into_owned();
        let processor = BadWords::new(&vocab, words.clone()).unwrap();
        let found: BTreeSet<_> = excluded(&processor, &tokens).into_iter().collect();
        let before = text(&tokens);
        // The reference: a token is forbidden if a word then ends later than the text before.
        let completes = |id: &TokenId| {
            let after = text(&[&tokens[..], &[*id]].concat());
            let begins = after.char_indices().map(|(at, _)| at);
            let ends_later = |word: &String| {
                let mut found = begins.clone().filter(|at| after[*at..].starts_with(word.as_str()));
                found.any(|at| at + word.len() > before.len())
            };
            words.iter().any(ends_later)
        };
        let expected: BTreeSet<TokenId> = (0..10).filter(completes).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn generated_texts_have_no_bad_words(seed in any::<u64>(), words in prop::collection::vec("[abc]{2,3}", 1..3)) {
        let vocab = vocab();
        let model = from_fn(Host, vocab.clone(), |_| Ok(vec![0.0; 10]));
        let bad = BadWords::new(&vocab, words.clone()).unwrap();
        let decoding = Decoding::from(Sampling::default().seed(seed)).max_tokens(20).processor(bad);
        let text: String = model.generate([0], decoding)?.text()?.collect::<eft::Result<_>>()?;
        prop_assert!(words.iter().all(|word| !text.contains(word.as_str())), "{text}: {words:?}");
    }
}

#[test]
fn invalid_settings_are_refused() {
    assert!(NoRepeatNgram::new(0).is_err());
    assert!(ForbiddenSequences::new([vec![]]).is_err());
    assert!(BadWords::new(&vocab(), [""]).is_err());
    assert!(BadWords::new(&Vocab::anonymous("unknown", 4).unwrap(), ["a"]).is_err());
    assert!(Dry::new(f32::NAN).is_err() && Dry::new(-1.0).is_err());
    assert!(Dry::new(1.0).unwrap().base(0.5).is_err());
    assert!(TopA::new(1.5).is_err() && TopA::new(f32::NAN).is_err());
    assert!(Xtc::new(0.0, 0.5).is_err() && Xtc::new(0.1, 1.5).is_err());
    assert!(Typical::new(0.0).is_err() && Typical::new(f32::NAN).is_err() && Typical::new(1.1).is_err());
    assert!(TopNSigma::new(0.0).is_err() && TopNSigma::new(f32::INFINITY).is_err());
    assert!(Mirostat::new(-1.0, 0.1).is_err() && Mirostat::new(3.0, f32::NAN).is_err());
    assert!(DynamicTemperature::new(0.0, 1.0).is_err() && DynamicTemperature::new(1.0, 0.5).is_err());
    assert!(DynamicTemperature::new(0.5, 1.0).unwrap().exponent(0.0).is_err());
}
