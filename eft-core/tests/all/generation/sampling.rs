//! From scores to tokens: the order of processors, filters and draws, and the random numbers.
use eft_core::conformance::reference;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn sampling_follows_the_reference_pipeline(
        seed: u64, model_seed: u64,
        temperature in 0.3f32..2.0, top_k in prop::option::of(1usize..12),
        top_p in prop::option::of(0.1f32..1.0), min_p in prop::option::of(0.0f32..0.5),
    ) {
        let source = model("m", model_seed);
        let sampling =
            Sampling::default().temperature(temperature).top_k(top_k).top_p(top_p).min_p(min_p).seed(seed);
        let tokens: Vec<Token> =
            source.generate([1], Decoding::from(sampling).stop_ids([]).max_tokens(6)).unwrap().map(|t| t.unwrap()).collect();
        let mut history = vec![1];
        for token in tokens {
            let row = logits(model_seed, &history, WIDTH);
            let filtered = reference::filter(&row, &Filter { temperature, top_k, top_p, min_p });
            let filtered: Vec<_> = filtered.into_iter().map(|x| x as f32).collect();
            let uniform = Uniforms::new(seed).at(0, token.position, Purpose::Draw);
            reference::check_draw(&filtered, uniform, token.id, 1e-5).unwrap();
            let expected = reference::log_softmax(&filtered)[token.id as usize];
            prop_assert!((f64::from(token.processed_log_prob) - expected).abs() < 1e-4);
            let combined = reference::log_softmax(&row)[token.id as usize];
            prop_assert!((f64::from(token.log_prob) - combined).abs() < 1e-4);
            history.push(token.id);
        }
    }
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
fn uniforms_are_uniform_independent_and_never_change() {
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
    // These numbers may never change, or the text of a seed would. They were computed with the ChaCha20 of OpenSSL: the
    // key is made of seed, row and purpose, and the counter is the position.
    assert_eq!([at(0, 0), at(7, 1000)], [0.4175268600582933, 0.9138541492052478]);
}

#[test]
fn penalties_are_those_of_transformers() {
    // The RepetitionPenaltyLogitsProcessor of transformers divides positive logits and multiplies negative ones, once
    // for each distinct token.
    let row = vec![2.0, -1.0, 0.5, 3.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0, -9.0];
    let source = from_fn(Host, vocab("fixed"), move |_| Ok(row.clone()));
    let edited = |processor: Box<dyn Processor>, generated: &[TokenId]| -> Vec<f64> {
        let edits = processor.edits(&History::new(generated)).unwrap();
        reference::edit(&[2.0, -1.0, 0.5, 3.0, -4.0], &edits)
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
    let guided = &source + 0.0f32 * &source + source.under(PromptTransform::prefix([2])).named("hinted");
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
fn a_hand_written_loop_gives_what_generate_gives() {
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
    assert!(ids.iter().any(|(a, b)| a != b), "forks with different ids draw different tokens");
}

#[test]
fn samplers_of_a_source_know_its_stop_ids() {
    let source = recite(&[1, 10]);
    let (mut session, scores) = source.open(&[[0].into()]).unwrap();
    let mut sampler = source.sampler(Sampling::greedy(), 1).unwrap();
    assert_eq!(sampler.next(&scores).unwrap(), Some(1));
    let scores = session.extend(&[RowFeed::one(1)]).unwrap();
    assert_eq!(sampler.next(&scores).unwrap(), None);
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
