//! Sampled texts follow the distribution of plain sampling: four tokens jointly, drafted in blocks of two.
use std::collections::BTreeMap;

use eft_core::conformance::reference;
use eft_core::sample::{FrequencyPenalty, History};
use eft_core::speculate::Lookup;
use eft_core::{FnEngine, Vocab, combine};

use super::*;

/// Tokens of the toy vocabulary; the last ends a text.
const TOKENS: usize = 4;
const LENGTH: usize = 4;
const ROWS: usize = 10_000;
const PROMPT: [TokenId; 1] = [1];
/// Fixed before the test was first run.
const SEEDS: [u64; 3] = [11, 12, 13];

pub(crate) type Counts = BTreeMap<Vec<TokenId>, f64>;

fn toy(name: &str, seed: u64) -> Source<Host> {
    let vocab = Vocab::new(name, ["a", "b", "c", "d"]).unwrap().with_eos([TOKENS as TokenId - 1]).unwrap();
    let spec = eft_core::EngineSpec::new(name, Host, vocab);
    Source::new(FnEngine::new(spec, move |row| {
        let mut logits = logits(seed, &row.tokens, TOKENS);
        logits.iter_mut().for_each(|l| *l *= 0.4);
        Ok(logits)
    }))
}

/// The expected count of every text, by the `f64` reference.
fn expected(target: &Source<Host>, prompt: &[TokenId], decoding: &Decoding) -> Counts {
    let mut open = vec![(Vec::new(), 1.0)];
    let mut done = Counts::new();
    while let Some((text, probability)) = open.pop() {
        let row = scores_after(target, prompt, &text);
        let history = History::new(&text);
        let edits: Vec<_> = decoding.processors.iter().flat_map(|p| p.edits(&history).unwrap()).collect();
        let edited: Vec<_> = reference::edit(&row, &edits).into_iter().map(|x| x as f32).collect();
        let filtered: Vec<_> = reference::filter(&edited, &decoding.sampling.filter().unwrap())
            .into_iter()
            .map(|x| x as f32)
            .collect();
        for (token, log_prob) in reference::log_softmax(&filtered).into_iter().enumerate() {
            let text = [&text[..], &[token as TokenId]].concat();
            let ends = text.len() == LENGTH || token == TOKENS - 1;
            let probability = probability * log_prob.exp();
            if probability > 0.0 && ends {
                done.insert(text, probability * ROWS as f64);
            } else if probability > 0.0 {
                open.push((text, probability));
            }
        }
    }
    done
}

/// How often each text of a batch of `rows` was generated, including the token that ended it.
pub(crate) fn observed(batch: Batch<Host>, rows: usize) -> Counts {
    observed_by(batch, rows, |_| ())
}

/// The same, with a look at the batch at the end.
fn observed_by(mut batch: Batch<Host>, rows: usize, at_end: impl FnOnce(&Batch<Host>)) -> Counts {
    let mut texts = vec![Vec::new(); rows];
    for event in batch.by_ref() {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].push(token.id),
            Event::Finished { row, finished } => texts[row].extend(finished.tail.iter().map(|t| t.id)),
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    at_end(&batch);
    let mut counts = Counts::new();
    texts.into_iter().for_each(|text| *counts.entry(text).or_default() += 1.0);
    counts
}

/// The chi-square statistic divided by its critical value at p = 0.001. Rare texts are counted as one cell.
pub(crate) fn over_critical(observed: &Counts, expected: &Counts) -> f64 {
    assert!(observed.keys().all(|text| expected.contains_key(text)), "a text of probability 0");
    let (mut statistic, mut cells) = (0.0, 0.0);
    let mut add = |observed: f64, expected: f64| {
        statistic += (observed - expected).powi(2) / expected;
        cells += 1.0;
    };
    let mut rare = (0.0, 0.0);
    for (text, expected) in expected {
        let observed = observed.get(text).copied().unwrap_or(0.0);
        if *expected < 5.0 {
            rare = (rare.0 + observed, rare.1 + expected);
        } else {
            add(observed, *expected);
        }
    }
    if rare.1 > 1.0 {
        add(rare.0, rare.1);
    }
    // Wilson and Hilferty 1931; 3.0902 standard deviations.
    let freedom: f64 = cells - 1.0;
    let part = 2.0 / (9.0 * freedom);
    statistic / (freedom * (1.0 - part + 3.0902 * part.sqrt()).powi(3))
}

fn filtered() -> Sampling {
    Sampling::default().temperature(0.8).top_k(3).top_p(0.9)
}

#[test]
fn drafted_texts_follow_the_distribution_of_the_target() {
    let (large, tuned, untuned) = (toy("large", 1), toy("tuned", 2), toy("untuned", 3));
    let upscaled = &large + 0.7 * (&tuned - &untuned);
    let penalty = || Decoding::default().processor(FrequencyPenalty::new(1.0).unwrap());
    let cases = [
        ("a term drafts", upscaled.clone(), tuned.clone(), Decoding::default()),
        ("the large term drafts", upscaled.clone(), large.clone(), Decoding::default()),
        ("an adversary drafts", upscaled.clone(), -2.0 * &upscaled, Decoding::default()),
        ("filters", upscaled.clone(), tuned.clone(), Decoding::from(filtered())),
        ("filters, an adversary drafts", upscaled.clone(), -1.0 * &upscaled, Decoding::from(filtered())),
        ("a penalty", upscaled.clone(), tuned.clone(), penalty()),
        ("a penalty and filters", upscaled.clone(), large.clone(), penalty().sampling(filtered())),
        (
            "a mixture",
            combine::mixture([(0.6, &large), (0.4, &tuned)]).unwrap(),
            tuned.clone(),
            Decoding::default(),
        ),
        ("a draft that is no term", large.clone(), untuned.clone(), Decoding::default()),
        ("a draft that is the target", large.clone(), large.clone(), Decoding::from(filtered())),
    ];
    for (name, target, draft, decoding) in cases {
        for seed in SEEDS {
            let decoding = decoding.clone().sampling(decoding.sampling.seed(seed)).max_tokens(LENGTH);
            let expected = expected(&target, &PROMPT, &decoding);
            let batch = target
                .speculate()
                .draft(&draft)
                .block(2)
                .generate_batch(vec![PROMPT; ROWS], &decoding)
                .unwrap();
            let over = over_critical(&observed(batch, ROWS), &expected);
            assert!(over < 1.0, "{name}, seed {seed}: chi-square is {over} of its critical value");
        }
    }
}

#[test]
fn looked_up_texts_follow_the_distribution_of_the_target() {
    // Each token but the last of the vocabulary occurs twice, and no two tokens together do.
    const PROMPT: [TokenId; 6] = [0, 1, 2, 0, 2, 1];
    let (large, tuned, untuned) = (toy("large", 1), toy("tuned", 2), toy("untuned", 3));
    let upscaled = &large + 0.7 * (&tuned - &untuned);
    let penalty = Decoding::from(filtered()).processor(FrequencyPenalty::new(1.0).unwrap());
    let alone = |source: &Source<Host>| {
        source.speculate().lookup(Lookup::default().least(1).greatest(2)).without_model()
    };
    // Something is found in some of the rows, and the model drafts for the others.
    let beside = |source: &Source<Host>, draft: &Source<Host>| {
        source.speculate().lookup(Lookup::default().least(2).greatest(2)).draft(draft)
    };
    let cases = [
        ("alone", upscaled.clone(), alone(&upscaled), Decoding::default()),
        ("alone, filters", large.clone(), alone(&large), Decoding::from(filtered())),
        ("beside a term", upscaled.clone(), beside(&upscaled, &tuned), Decoding::default()),
        ("beside another draft", large.clone(), beside(&large, &untuned), penalty.clone()),
        ("beside the large term", upscaled.clone(), beside(&upscaled, &large), penalty),
    ];
    for (name, target, speculative, decoding) in cases {
        for seed in SEEDS {
            let decoding = decoding.clone().sampling(decoding.sampling.seed(seed)).max_tokens(LENGTH);
            let expected = expected(&target, &PROMPT, &decoding);
            let batch = speculative.clone().block(2).generate_batch(vec![PROMPT; ROWS], &decoding).unwrap();
            let (mut looked_up, mut passes) = (0, 0);
            let counts = observed_by(batch, ROWS, |batch| {
                let report = batch.report().unwrap();
                (looked_up, passes) = (report.looked_up, report.draft_passes);
            });
            assert!(looked_up > ROWS / 10, "{name}: only {looked_up} tokens were looked up");
            assert_eq!(passes > 0, name.starts_with("beside"));
            let over = over_critical(&counts, &expected);
            assert!(over < 1.0, "{name}, seed {seed}: chi-square is {over} of its critical value");
        }
    }
}

#[test]
fn the_statistic_distinguishes_a_draft_from_its_target() {
    let (large, tuned) = (toy("large", 1), toy("tuned", 2));
    let target = &large + 0.3 * &tuned;
    let decoding = Decoding::default().max_tokens(LENGTH);
    let batch = large.generate_batch(vec![PROMPT; ROWS], &decoding).unwrap();
    assert!(over_critical(&observed(batch, ROWS), &expected(&target, &PROMPT, &decoding)) > 1.0);
}
