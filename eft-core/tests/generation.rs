//! Sampling and generation: the order of things, what ends a text, and what is told of each token.
mod common;

use common::*;
use eft_core::conformance::naive;
use eft_core::decode::{Batch, Event, FinishReason, Finished, Generation};
use eft_core::sample::{
    AllowedTokens, FrequencyPenalty, History, LogitBias, PresencePenalty, Processor, Purpose,
    RepetitionPenalty, Uniforms,
};
use eft_core::{
    Decoding, Filter, Form, Host, Joint, LogitSource, Rendering, RowFeed, Sampler, Sampling, Session, Source,
    Token, TokenId, combine, from_fn, from_top,
};
use proptest::prelude::*;

/// Says a text by heart.
fn recite(text: &'static [TokenId]) -> Source<Host> {
    from_fn(Host, vocab("recite"), move |tokens| {
        let next = text.get(tokens.len() - 1).copied().unwrap_or(0);
        Ok((0..WIDTH as TokenId).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    })
}

fn run(mut generation: Generation<Host>) -> (Vec<TokenId>, Finished) {
    let ids = generation.by_ref().map(|t| t.unwrap().id).collect();
    (ids, generation.finished().unwrap().clone())
}

fn greedy() -> Decoding {
    Decoding::from(Sampling::greedy()).max_tokens(8)
}

#[test]
fn what_ends_a_text() {
    let model = recite(&[1, 2, 1, 2, 3, 4, 10, 5]);
    let ids = |f: &Finished| f.tail.iter().map(|t| t.id).collect::<Vec<_>>();
    let (text, end) = run(model.generate([0], greedy()).unwrap());
    assert_eq!(
        (&text[..], end.reason.clone(), ids(&end)),
        (&[1, 2, 1, 2, 3, 4][..], FinishReason::EndOfSequence(10), vec![10])
    );

    let (text, end) = run(model.generate([0], greedy().stop_ids([4])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3][..], FinishReason::EndOfSequence(4)));

    let (text, end) = run(model.generate([0], greedy().stop_ids([])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4, 10, 5][..], FinishReason::MaxTokens));

    let (text, end) = run(model.generate([0], greedy().max_tokens(0)).unwrap());
    assert_eq!((&text[..], end.reason), (&[][..], FinishReason::MaxTokens));

    // A stop sequence that begins twice before it is there.
    let stop = greedy().stop_sequence([9, 9]).stop_sequence([1, 2, 3]);
    let (text, end) = run(model.generate([0], stop).unwrap());
    assert_eq!(
        (&text[..], end.reason.clone(), ids(&end)),
        (&[1, 2][..], FinishReason::StopSequence(1), vec![1, 2, 3])
    );

    // What was held back for one that never came is not lost.
    let (text, end) = run(model.generate([0], greedy().stop_sequence([2, 3, 4, 5]).max_tokens(6)).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4][..], FinishReason::MaxTokens));
    let (text, end) = run(model.generate([0], greedy().stop_sequence([4, 9])).unwrap());
    assert_eq!((&text[..], end.reason), (&[1, 2, 1, 2, 3, 4][..], FinishReason::EndOfSequence(10)));
}

proptest! {
    #[test]
    fn stop_sequences_cut_where_they_first_end(
        text in prop::collection::vec(0u32..3, 1..20),
        stops in prop::collection::vec(prop::collection::vec(0u32..3, 1..4), 1..4),
    ) {
        let said = text.clone();
        let model = from_fn(Host, vocab("recite"), move |tokens| {
            let next = said.get(tokens.len() - 1).copied().unwrap_or(10);
            Ok((0..WIDTH as TokenId).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
        });
        let mut decoding = greedy().max_tokens(text.len());
        for stop in &stops {
            decoding = decoding.stop_sequence(stop.clone());
        }
        let (got, end) = run(model.generate([0], decoding).unwrap());
        let cut = (1..=text.len()).find_map(|n| {
            let index = stops.iter().position(|s| text[..n].ends_with(s))?;
            Some((text[..n - stops[index].len()].to_vec(), FinishReason::StopSequence(index)))
        });
        let (expected, reason) = cut.unwrap_or((text.clone(), FinishReason::MaxTokens));
        prop_assert_eq!(got, expected);
        prop_assert_eq!(end.reason, reason);
    }

    #[test]
    fn sampling_is_the_naive_pipeline(
        seed: u64, model_seed: u64,
        temperature in 0.3f32..2.0, top_k in prop::option::of(1usize..12),
        top_p in prop::option::of(0.1f32..1.0), min_p in prop::option::of(0.0f32..0.5),
    ) {
        let source = model("m", model_seed);
        let sampling = Sampling { temperature, top_k, top_p, min_p, seed };
        let tokens: Vec<Token> =
            source.generate([1], Decoding::from(sampling).stop_ids([]).max_tokens(6)).unwrap().map(|t| t.unwrap()).collect();
        let mut history = vec![1];
        for token in tokens {
            let row = logits(model_seed, &history, WIDTH);
            let filtered = naive::filter(&row, &Filter { temperature, top_k, top_p, min_p });
            let filtered: Vec<_> = filtered.into_iter().map(|x| x as f32).collect();
            let uniform = Uniforms::new(seed).at(0, token.position, Purpose::Draw);
            naive::check_draw(&filtered, uniform, token.id, 1e-5).unwrap();
            let expected = naive::log_softmax(&filtered)[token.id as usize];
            prop_assert!((f64::from(token.processed_log_prob) - expected).abs() < 1e-4);
            let combined = naive::log_softmax(&row)[token.id as usize];
            prop_assert!((f64::from(token.log_prob) - combined).abs() < 1e-4);
            history.push(token.id);
        }
    }

    #[test]
    fn shares_add_up_to_the_combined_margin(seed: u64, alpha in -1.5f32..1.5) {
        let (base, tuned, untuned) = (model("base", seed), model("tuned", seed ^ 1), model("untuned", seed ^ 2));
        let sum = &base + alpha * (&tuned - &untuned).named("style");
        let decoding = Decoding::default().stop_ids([]).max_tokens(3).attribution(2).alternatives(3);
        for token in sum.generate([4], decoding).unwrap() {
            let token = token.unwrap();
            let attribution = token.attribution.unwrap();
            prop_assert_eq!(attribution.rivals.len(), 2);
            let names: Vec<_> = attribution.terms.iter().map(|t| &t.name[..]).collect();
            prop_assert_eq!(names, ["base", "tuned", "untuned"]);
            for (i, rival) in attribution.rivals.iter().enumerate() {
                prop_assert_ne!(*rival, token.id);
                let shares: f32 = attribution.terms.iter().map(|t| t.shares[i]).sum();
                if let Some(pick) = token.alternatives.iter().find(|p| p.token == *rival) {
                    prop_assert!((shares - (token.log_prob - pick.log_prob)).abs() < 1e-3);
                }
            }
        }
    }
}

#[test]
fn alternatives_are_the_likeliest_tokens() {
    let token =
        model("m", 3).generate([1], Decoding::default().alternatives(4)).unwrap().next().unwrap().unwrap();
    let expected: Vec<_> = naive::top(&logits(3, &[1], WIDTH), 4);
    for (got, (id, log_prob)) in token.alternatives.iter().zip(&expected) {
        assert_eq!(got.token, *id);
        assert!((f64::from(got.log_prob) - log_prob).abs() < 1e-5);
    }
    assert_eq!(token.alternatives.len(), 4);
}

#[test]
fn attribution_speaks_of_terms_that_cancel() {
    let (base, tuned) = (model("base", 1), model("tuned", 2));
    let sum = &base + (&tuned - &base.named("untuned"));
    let token = sum.generate([4], greedy().attribution(1)).unwrap().next().unwrap().unwrap();
    let terms = token.attribution.unwrap().terms;
    let shares: Vec<_> = terms.iter().map(|t| (&t.name[..], t.shares[0])).collect();
    assert_eq!(shares.len(), 3);
    assert_eq!((shares[0].0, shares[2].0), ("base", "untuned"));
    assert_eq!(shares[0].1, -shares[2].1);
    assert_ne!(shares[0].1, 0.0);
}

#[test]
fn attribution_of_a_rule_speaks_of_its_parts() {
    let mixture = combine::mixture([(0.5, &model("a", 1)), (0.5, &model("b", 2))]).unwrap();
    let token = mixture.generate([4], greedy().attribution(1)).unwrap().next().unwrap().unwrap();
    let terms = token.attribution.unwrap().terms;
    assert_eq!(terms.iter().map(|t| (&t.name[..], t.weight)).collect::<Vec<_>>(), [("a", None), ("b", None)]);
}

#[test]
fn draws_follow_the_distribution() {
    // One position, many rows: chi-square with 10 degrees of freedom, 29.59 at p = 0.001, for seeds fixed in advance.
    for seed in [1, 2, 3] {
        let source = model("a", seed) + 0.5 * model("b", seed + 10);
        let rows = 20_000;
        let decoding = Decoding::from(Sampling::default().seed(seed)).stop_ids([]).max_tokens(1);
        let mut counts = [0usize; WIDTH];
        for event in source.generate_batch(vec![[4]; rows], decoding).unwrap() {
            if let Event::Token { token, .. } = event.unwrap() {
                counts[token.id as usize] += 1;
            }
        }
        let expected = log_probs_after(&source, &[4], &[]);
        let chi: f64 = counts
            .iter()
            .zip(&expected)
            .map(|(count, log_prob)| {
                let expected = f64::from(log_prob.exp()) * rows as f64;
                (*count as f64 - expected).powi(2) / expected
            })
            .sum();
        assert!(chi < 29.59, "seed {seed}: {chi}");
    }
}

#[test]
fn uniforms_are_uniform_independent_and_for_ever_the_same() {
    let uniforms = Uniforms::new(42);
    let at = |row, position| uniforms.at(row, position, Purpose::Draw);
    let mut bins = [0; 16];
    let mut products = 0.0;
    for i in 0..16_000 {
        let (a, b) = (at(i / 100, i as usize % 100), at(i / 100, i as usize % 100 + 1));
        assert!((0.0..1.0).contains(&a));
        bins[(a * 16.0) as usize] += 1;
        products += (a - 0.5) * (b - 0.5) * 12.0;
    }
    // 15 degrees of freedom, 37.70 at p = 0.001; a correlation of 16,000 pairs has a deviation of 0.008.
    let chi: f64 = bins.iter().map(|b| (f64::from(*b) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi < 37.70, "{chi}");
    assert!((products / 16_000.0).abs() < 0.03);
    let purposes = [Purpose::Draw, Purpose::Draft, Purpose::Accept, Purpose::Residual];
    let all: Vec<_> = purposes.iter().map(|p| uniforms.at(1, 2, *p)).collect();
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    // A text of today is the text of tomorrow: these may never change. They are OpenSSL's ChaCha20, the key being
    // seed, row and purpose, the counter the position.
    assert_eq!([at(0, 0), at(7, 1000)], [0.4175268600582933, 0.9138541492052478]);
}

#[test]
fn penalties_do_what_transformers_does() {
    // transformers' RepetitionPenaltyLogitsProcessor: divides positive logits, multiplies negative ones, once each.
    let row = vec![2.0, -1.0, 0.5, 3.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0, -9.0];
    let source = from_fn(Host, vocab("fixed"), move |_| Ok(row.clone()));
    let edited = |processor: Box<dyn Processor>, generated: &[TokenId]| -> Vec<f64> {
        let edits = processor.edits(&History { generated, prompt: &[] }).unwrap();
        naive::edit(&[2.0, -1.0, 0.5, 3.0, -4.0], &edits)
    };
    let repetition = edited(Box::new(RepetitionPenalty::new(2.0).unwrap()), &[0, 1, 0]);
    assert_eq!(repetition, [1.0, -2.0, 0.5, 3.0, -4.0]);
    let window = edited(Box::new(RepetitionPenalty::new(2.0).unwrap().window(1)), &[0, 1]);
    assert_eq!(window, [2.0, -2.0, 0.5, 3.0, -4.0]);
    let frequency = edited(Box::new(FrequencyPenalty::new(0.5).unwrap()), &[0, 1, 0]);
    assert_eq!(frequency, [1.0, -1.5, 0.5, 3.0, -4.0]);
    let presence = edited(Box::new(PresencePenalty::new(0.5).unwrap()), &[0, 1, 0]);
    assert_eq!(presence, [1.5, -1.5, 0.5, 3.0, -4.0]);
    // And the sampler applies them to the raw combined row: 3.0, 3.0 / 2 = 1.5 < 2.0, then 2.0 / 2 = 1.0 < 1.5.
    let decoding = greedy().max_tokens(4).processor(RepetitionPenalty::new(2.0).unwrap());
    assert_eq!(run(source.generate([1], decoding).unwrap()).0, [3, 0, 3, 3]);
}

#[test]
fn a_repetition_penalty_counts_the_prompt_of_the_term_it_names() {
    let source =
        from_fn(Host, vocab("fixed"), |_| Ok(vec![0.0, 3.0, 2.9, 2.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
    let guided = &source + 0.0f32 * &source + source.under(Rendering::prefix([2])).named("hinted");
    let with = |term: Option<&str>| {
        let penalty = RepetitionPenalty::new(1.5).unwrap();
        let penalty = match term {
            Some(term) => penalty.with_prompt_of(term),
            None => penalty,
        };
        run(guided.generate([1], greedy().max_tokens(1).processor(penalty)).unwrap()).0[0]
    };
    assert_eq!((with(None), with(Some("fixed")), with(Some("hinted"))), (1, 2, 3));
}

#[test]
fn bias_and_masks_are_applied_before_filters() {
    let source = model("m", 3);
    let first = |decoding: Decoding| run(source.generate([1], decoding.max_tokens(1)).unwrap()).0[0];
    assert_eq!(first(greedy().processor(LogitBias::new([(5, 100.0)]).unwrap())), 5);
    let best = first(greedy());
    assert_ne!(first(greedy().processor(LogitBias::forbid([best]))), best);
    for seed in 0..20 {
        let sampled = Decoding::from(Sampling::default().top_k(1).seed(seed)).stop_ids([]);
        let allowed = sampled.processor(AllowedTokens::new([2, 7]));
        assert!([2, 7].contains(&first(allowed)));
    }
}

#[test]
fn a_loop_of_ones_own_gives_what_generate_gives() {
    let source = model("a", 1) + 0.7 * (model("b", 2) - model("c", 3));
    let decoding = Decoding::from(Sampling::default().temperature(0.8).top_p(0.9).seed(5)).max_tokens(12);
    let generated: Vec<_> = source.generate([1, 2], &decoding).unwrap().map(|t| t.unwrap().id).collect();

    let mut sampler = source.sampler(&decoding, 1).unwrap();
    let (mut session, mut scores) = source.open(&[[1, 2].into()]).unwrap();
    let mut looped = Vec::new();
    while let Some(token) = sampler.next(&scores).unwrap() {
        looped.push(token);
        scores = session.extend(&[RowFeed::one(token)]).unwrap();
    }
    assert_eq!(looped, generated);
}

#[test]
fn samplers_survive_rollback_and_forks() {
    let source = model("m", 1);
    let decoding = Decoding::from(Sampling::default().seed(3)).processor(FrequencyPenalty::new(1.0).unwrap());
    let mut sampler = Sampler::new(Host, &decoding, 1).unwrap();
    let (_, scores) = source.open(&[[1].into()]).unwrap();
    let first = sampler.sample(&scores).unwrap()[0].clone();
    let second = sampler.sample(&scores).unwrap()[0].clone();
    sampler.rollback(&[2]).unwrap();
    assert_eq!(sampler.sample(&scores).unwrap()[0], first);
    sampler.select(&[0, 0]).unwrap();
    let (_, both) = source.open(&[[1].into(), [1].into()]).unwrap();
    let twins = sampler.sample(&both).unwrap();
    assert_eq!(twins, [second.clone(), second]);
    sampler.rename(&[0, 9]).unwrap();
    let ids: Vec<_> = (0..8).map(|_| sampler.sample(&both).unwrap()).map(|t| (t[0].id, t[1].id)).collect();
    assert!(ids.iter().any(|(a, b)| a != b), "forks of other ids go their own way");
}

#[test]
fn dropping_a_generation_runs_nothing_more() {
    let (source, counts) = counted("m", 1, &[]);
    let mut generation = source.generate([1, 2], Decoding::default().stop_ids([])).unwrap();
    generation.next().unwrap().unwrap();
    generation.next().unwrap().unwrap();
    drop(generation);
    assert_eq!(counts.take(), (2, 3));
}

#[test]
fn finished_rows_leave_the_batch() {
    let spec = eft_core::EngineSpec::new("recite", Host, vocab("recite"));
    let counts = std::sync::Arc::new(Counts::default());
    // Row ends after as many tokens as its first token says.
    let inner = eft_core::FnEngine::new(spec, |row| {
        let next = if row.tokens.len() > row.tokens[0] as usize { 10 } else { 1 };
        Ok((0..WIDTH).map(|id| if id == next { 9.0 } else { 0.0 }).collect())
    });
    let source = Source::new(Counting { inner, counts: counts.clone() });
    let batch = source.generate_batch([[2], [5], [3]], greedy()).unwrap();
    let mut ends = Vec::new();
    for event in batch {
        if let Event::Finished { row, finished } = event.unwrap() {
            assert_eq!(finished.reason, FinishReason::EndOfSequence(10));
            ends.push(row);
        }
    }
    assert_eq!(ends, [0, 2, 1]);
    // Three prompts; then 3 rows twice, 2, and 1 twice.
    assert_eq!(counts.take(), (6, 3 + 3 + 3 + 2 + 1 + 1));
}

#[test]
fn conversations_feed_only_what_is_new() {
    let (large, large_counts) = counted("large", 1, &[]);
    let (small, small_counts) = counted("small", 2, &["tuned"]);
    let sum = &large + (small.adapter("tuned").unwrap() - &small);
    let first = [1, 2, 3, 4, 5];
    let mut generation = sum.generate(first, greedy().stop_ids([]).max_tokens(3)).unwrap();
    let reply: Vec<_> = generation.by_ref().map(|t| t.unwrap().id).collect();
    assert_eq!((large_counts.take(), small_counts.take()), ((3, 7), (3, 14)));

    let mut joint = generation.into_joint();
    let next = [&first[..], &reply, &[7, 8]].concat();
    joint.reopen(&[next.clone().into()]).unwrap();
    // The last token of the reply was never fed: it and two more, in one pass.
    assert_eq!((large_counts.take(), small_counts.take()), ((1, 3), (1, 6)));
    let mut generation = Batch::over(joint, greedy().stop_ids([]).max_tokens(3)).unwrap();
    let resumed: Vec<_> = generation.by_ref().filter_map(|e| token(e.unwrap())).collect();
    let fresh: Vec<_> = sum
        .generate(next.clone(), greedy().stop_ids([]).max_tokens(3))
        .unwrap()
        .map(|t| t.unwrap())
        .collect();
    assert_eq!(resumed, fresh);
    large_counts.take();

    // Back into the prompt, and forked: both rows share four tokens with what was read.
    let mut joint = generation.into_joint();
    joint.reopen(&[[1, 2, 3, 4, 9].into(), [1, 2, 3, 4].into()]).unwrap();
    assert_eq!(large_counts.take(), (1, 1 + 1));
    let scores = joint.eval_last(0).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&sum, &[1, 2, 3, 4, 9], &[]));
    assert_eq!(values(&scores)[1], scores_after(&sum, &[1, 2, 3, 4], &[]));
    // A prompt that cannot be opened leaves the joint as it was.
    assert!(joint.reopen(&[[99].into()]).is_err());
    joint.push(&[vec![1], vec![2]]).unwrap();
    assert_eq!(values(&joint.eval_last(0).unwrap())[1], scores_after(&sum, &[1, 2, 3, 4], &[2]));
}

fn token(event: Event) -> Option<Token> {
    match event {
        Event::Token { token, .. } => Some(token),
        Event::Finished { .. } => None,
    }
}

#[test]
fn a_black_box_is_combined_on_the_tokens_it_tells() {
    let top = |tokens: &[TokenId]| -> Vec<(TokenId, f32)> {
        naive::top(&logits(4, tokens, WIDTH), 5).into_iter().map(|(id, p)| (id, p as f32)).collect()
    };
    let black_box = from_top(Host, vocab("black box"), move |tokens| Ok(top(tokens)));
    let (tuned, untuned) = (model("tuned", 1), model("untuned", 2));
    let proxy = &black_box + (&tuned - &untuned);
    let known: Vec<_> = top(&[3]).into_iter().map(|(id, _)| id).collect();
    let mass: f32 = top(&[3]).iter().map(|(_, p)| p.exp()).sum();

    let mut joint = Joint::open(&[&proxy, &(&tuned - &black_box)], &[[3].into()]).unwrap();
    for root in [0, 1] {
        let scores = joint.eval_last(root).unwrap();
        assert_eq!(scores.form(), Form::Partial);
        assert!((scores.covered(0).unwrap() - mass).abs() < 1e-5);
        let row = &values(&scores)[0];
        assert!((0..WIDTH).all(|i| row[i].is_finite() == known.contains(&(i as TokenId))), "{row:?}");
        assert!((row.iter().map(|x| x.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let token = proxy.generate([3], Decoding::default().stop_ids([])).unwrap().next().unwrap().unwrap();
    assert!(known.contains(&token.id) && (token.covered.unwrap() - mass).abs() < 1e-5);
    assert_eq!(
        model("m", 1)
            .generate([3], Decoding::default().stop_ids([]))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .covered,
        None
    );
}

#[test]
fn scores_of_texts_are_sums_of_log_probs() {
    let source = model("a", 1) + (model("b", 2) - model("c", 3));
    // Longer than what is scored at once, and ragged.
    let long: Vec<_> = (0..150).map(|i| (i * 7 % 10) as TokenId).collect();
    let scored = source.score_batch([([1], long.clone()), ([2], vec![3, 4]), ([5], vec![])]).unwrap();
    assert_eq!(scored.iter().map(|s| s.tokens.len()).collect::<Vec<_>>(), [150, 2, 0]);
    for position in [0, 1, 63, 64, 65, 149] {
        let expected = log_probs_after(&source, &[1], &long[..position])[long[position] as usize];
        assert!((scored[0].tokens[position] - expected).abs() < 1e-4);
    }
    let total: f64 = scored[0].tokens.iter().map(|t| f64::from(*t)).sum();
    assert_eq!(scored[0].total, total);
    assert!(matches!(source.score([1], &[99]), Err(eft_core::Error::TokenOutOfRange { token: 99, .. })));
}

#[test]
fn the_implicit_reward_is_the_difference_and_shares_passes() {
    let (small, counts) = counted("small", 2, &["tuned"]);
    let tuned = small.adapter("tuned").unwrap();
    let text = [3, 1, 4, 1, 5];
    let reward = eft_core::score::implicit_reward(&tuned, &small, [1], &text, 0.5).unwrap();
    assert_eq!(counts.take().0, 1 + 1 + 1, "the prompt in one pass, then each root's part");
    let (a, b) = (tuned.score([1], &text).unwrap(), small.score([1], &text).unwrap());
    for i in 0..5 {
        assert!((reward.tokens[i] - 0.5 * (a.tokens[i] - b.tokens[i])).abs() < 1e-5);
    }
}

#[test]
fn settings_are_serde_types() {
    let sampling: Sampling = serde_json::from_str(r#"{"temperature": 0.5, "top_k": 3}"#).unwrap();
    assert_eq!(sampling, Sampling::default().temperature(0.5).top_k(3));
    assert_eq!(
        serde_json::from_str::<Sampling>(&serde_json::to_string(&sampling).unwrap()).unwrap(),
        sampling
    );
    assert!(serde_json::from_str::<Sampling>(r#"{"top_q": 3}"#).is_err());
}

#[test]
fn a_text_that_was_cut_goes_on_as_if_it_had_not_been() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let decoding = |sampling, tokens| {
        let penalty = FrequencyPenalty::new(0.7).unwrap();
        Decoding::from(sampling).stop_ids([]).max_tokens(tokens).processor(penalty)
    };
    for sampling in [Sampling::greedy(), Sampling::default().seed(4)] {
        let all: Vec<_> =
            source.generate([1, 2], decoding(sampling, 12)).unwrap().map(|t| t.unwrap()).collect();
        // Whether it was cut by the limit or by dropping, the joint holds the whole of it.
        for limit in [5, 50] {
            let mut first = source.generate([1, 2], decoding(sampling, limit)).unwrap();
            let mut text: Vec<_> = first.by_ref().take(5).map(|t| t.unwrap()).collect();
            let rest = Batch::over(first.into_joint(), decoding(sampling, 7)).unwrap();
            text.extend(rest.filter_map(|e| token(e.unwrap())));
            assert_eq!(text, all);
        }
    }
}

#[test]
fn sessions_tell_their_scores_again_after_a_rollback() {
    let source = model("a", 1) + 0.5 * model("b", 2);
    let (mut session, opened) = source.session(&[[1, 2].into(), [3].into()]).unwrap();
    session.extend(&[RowFeed::all(vec![4, 5]), RowFeed::none()]).unwrap();
    session.rollback(&[2, 0]).unwrap();
    assert_eq!(values(&session.current().unwrap()), values(&opened));
    let scores = session.extend(&[RowFeed::one(6), RowFeed::one(7)]).unwrap();
    assert_eq!(values(&scores)[0], scores_after(&source, &[1, 2], &[6]));
}

#[test]
fn samplers_of_a_source_know_where_its_texts_end() {
    let source = recite(&[1, 10]);
    let (mut session, scores) = source.open(&[[0].into()]).unwrap();
    let mut sampler = source.sampler(Sampling::greedy(), 1).unwrap();
    assert_eq!(sampler.next(&scores).unwrap(), Some(1));
    let scores = session.extend(&[RowFeed::one(1)]).unwrap();
    assert_eq!(sampler.next(&scores).unwrap(), None);
}

#[test]
fn single_models_render_and_vocabularies_decode() {
    let source = model("m", 1);
    let hinted = source.under(Rendering::prefix([7]));
    assert_eq!(hinted.render([1, 2]).unwrap(), [7, 1, 2]);
    assert_eq!(source.vocab().decode(&[1, 2, 10]), b"bc");
    assert!((&source + &hinted).render([1]).is_err() && source.render("text").is_err());
    let (adapted, _) = counted("small", 1, &["x"]);
    assert_eq!(adapted.under(Rendering::prefix([7])).adapter("x").unwrap().render([1]).unwrap(), [7, 1]);
}

#[test]
fn a_text_cut_where_the_context_is_full_ends_and_does_not_fail() {
    let source = short_model("short", 1, 4);
    let decoding = |tokens| Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(tokens);
    // A prompt of two, two tokens that are fed, and one that there is no room for.
    let (all, end) = run(source.generate([1, 2], decoding(9)).unwrap());
    assert_eq!((all.len(), end.reason), (3, FinishReason::ContextFull));
    let mut cut = source.generate([1, 2], decoding(3)).unwrap();
    assert_eq!(cut.by_ref().count(), 3);
    let mut rest = Batch::over(cut.into_joint(), decoding(9)).unwrap();
    let again = token(rest.next().unwrap().unwrap()).unwrap();
    assert_eq!((again.id, again.position), (all[2], 2), "the last token was not held, and is drawn again");
    assert!(
        matches!(rest.next(), Some(Ok(Event::Finished { finished, .. })) if finished.reason == FinishReason::ContextFull)
    );
}
