//! The statistics reported for each token, and for whole texts.
use eft_core::conformance::reference;
use eft_core::decode::Request;
use eft_core::{Error, Result};
use proptest::prelude::*;

use super::*;

proptest! {
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
    let expected: Vec<_> = reference::top(&logits(3, &[1], WIDTH), 4);
    for (got, (id, log_prob)) in token.alternatives.iter().zip(&expected) {
        assert_eq!(got.token, *id);
        assert!((f64::from(got.log_prob) - log_prob).abs() < 1e-5);
    }
    assert_eq!(token.alternatives.len(), 4);
}

#[test]
fn attribution_includes_terms_that_cancel() {
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

/// The tokens of each row of a batch that all of these requests join, one after each event; or why a row has failed.
fn tokens(mut batch: Batch<Host>, late: Option<Request>, events: usize) -> Vec<Result<Vec<Token>, String>> {
    let (mut rows, mut late) = (vec![Ok(Vec::new()); batch.rows() + usize::from(late.is_some())], late);
    let mut count = 0;
    loop {
        if let Some(request) = late.take_if(|_| count >= events) {
            batch.join([request]).unwrap();
        }
        match batch.next().transpose().unwrap() {
            Some(Event::Token { row, token }) => rows[row].as_mut().unwrap().push(token),
            Some(Event::Failed { row, error }) => rows[row] = Err(error.to_string()),
            Some(Event::Finished { .. }) => {}
            None if late.is_none() => return rows,
            None => count = events,
        }
        count += 1;
    }
}

proptest! {
    #[test]
    fn what_is_attributed_in_a_row_does_not_depend_on_the_other_rows(
        seed: u64,
        cancels: bool,
        drafted: bool,
        asked in prop::collection::vec(prop::option::of(0usize..4), 2..5),
        events in 0usize..8,
    ) {
        let (base, tuned, untuned) = (model("base", seed), model("tuned", seed ^ 1), model("untuned", seed ^ 2));
        let sum = match cancels {
            true => &base + (&tuned - &base.named("untuned")),
            false => &base + 0.5 * (&tuned - &untuned),
        };
        let open = |requests: Vec<Request>| {
            let decoding = Decoding::from(Sampling::default().seed(seed)).stop_ids([]).max_tokens(4).alternatives(2);
            match drafted {
                true => sum.speculate().draft(&tuned).block(2).same_text().generate_batch(requests, decoding),
                false => sum.generate_batch(requests, decoding),
            }
            .unwrap()
        };
        let request = |(index, rivals): (usize, &Option<usize>)| {
            let request = Request::new([index as TokenId, 3]).id(index as u64);
            rivals.map_or(request.clone(), |rivals| request.attribution(rivals))
        };
        let requests: Vec<_> = asked.iter().enumerate().map(request).collect();
        let (late, first) = requests.split_last().unwrap();
        let got = tokens(open(first.to_vec()), Some(late.clone()), events);
        for (index, (request, got)) in requests.iter().zip(&got).enumerate() {
            let lacks = cancels && first.iter().all(|request| request.attribution.is_none());
            if index == first.len() && request.attribution.is_some() && lacks {
                prop_assert!(got.as_ref().is_err_and(|error| error.contains("attribution")), "{:?}", got);
                continue;
            }
            let alone = tokens(open(vec![request.clone()]), None, 0).remove(0);
            prop_assert_eq!(got, &alone, "row {}", index);
            for token in alone.unwrap() {
                let of_token = token.attribution.map(|found| (found.rivals.len(), found.terms.len()));
                prop_assert_eq!(of_token, asked[index].map(|rivals| (rivals, 3)));
            }
        }
    }
}

#[test]
fn a_source_says_whether_terms_of_it_cancel() {
    let (base, tuned) = (model("base", 1), model("tuned", 2));
    let cancels = |source: &Source<Host>| source.has_cancelled_terms([1]);
    assert!(!cancels(&(&base + 0.5 * &tuned)).unwrap());
    assert!(cancels(&(&base + 0.0 * &tuned)).unwrap());
    // One of the equal terms still runs, and so does what is said of the other.
    assert!(!cancels(&(&base + (&tuned - 0.5 * &base))).unwrap());
    assert!(cancels(&(&base + (&tuned - &base))).unwrap());
    assert!(matches!(cancels(&(&base - &base)), Err(Error::NothingLeft { .. })));
    assert!(base.has_cancelled_terms(Vec::<TokenId>::new()).is_err());
}

#[test]
fn attribution_of_a_rule_lists_its_parts_without_shares() {
    let mixture = combine::mixture([(0.5, &model("a", 1)), (0.5, &model("b", 2))]).unwrap();
    let token = mixture.generate([4], greedy().attribution(1)).unwrap().next().unwrap().unwrap();
    let terms = token.attribution.unwrap().terms;
    assert_eq!(terms.iter().map(|t| (&t.name[..], t.weight)).collect::<Vec<_>>(), [("a", None), ("b", None)]);
    // The preference of a part by itself is known, but not the sign with which the rule uses it.
    assert!(terms.iter().all(|term| term.shares.is_empty() && term.margins.len() == 1));
}

#[test]
fn a_part_that_a_rule_subtracts_has_shares_of_the_opposite_sign() {
    let (base, tuned, untuned) = (model("base", 1), model("tuned", 2), model("untuned", 3));
    let rule = combine::nucleus_delta(&base, &tuned, &untuned, 0.5, 0.9).unwrap();
    let token = rule.generate([4], greedy().attribution(2)).unwrap().next().unwrap().unwrap();
    let terms = token.attribution.unwrap().terms;
    assert_eq!(terms.iter().map(|term| term.weight).collect::<Vec<_>>(), [Some(1.0), Some(0.5), Some(-0.5)]);
    for (share, margin) in terms[2].shares.iter().zip(&terms[2].margins) {
        assert!(*margin != 0.0 && *share == -0.5 * margin);
    }
}

#[test]
fn a_black_box_is_combined_on_the_tokens_it_reports() {
    let top = |tokens: &[TokenId]| -> Vec<(TokenId, f32)> {
        reference::top(&logits(4, tokens, WIDTH), 5).into_iter().map(|(id, p)| (id, p as f32)).collect()
    };
    let black_box = from_top(Host, vocab("black box"), move |tokens| Ok(top(tokens)));
    let (tuned, untuned) = (model("tuned", 1), model("untuned", 2));
    let proxy = &black_box + (&tuned - &untuned);
    let known: Vec<_> = top(&[3]).into_iter().map(|(id, _)| id).collect();
    let mass: f32 = top(&[3]).iter().map(|(_, p)| p.exp()).sum();

    let mut evaluator = Evaluator::open(&[&proxy, &(&tuned - &black_box)], &[[3].into()]).unwrap();
    for root in [0, 1] {
        let scores = evaluator.eval_last(root).unwrap();
        assert_eq!(scores.form(), Form::Partial);
        assert!((scores.known_mass(0).unwrap() - mass).abs() < 1e-5);
        let row = &values(&scores)[0];
        assert!((0..WIDTH).all(|i| row[i].is_finite() == known.contains(&(i as TokenId))), "{row:?}");
        assert!((row.iter().map(|x| x.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let token = proxy.generate([3], Decoding::default().stop_ids([])).unwrap().next().unwrap().unwrap();
    assert!(known.contains(&token.id) && (token.known_mass.unwrap() - mass).abs() < 1e-5);
    assert_eq!(
        model("m", 1)
            .generate([3], Decoding::default().stop_ids([]))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .known_mass,
        None
    );
}

#[test]
fn sources_around_a_black_box_report_how_much_it_knows() {
    let black_box = |seed: u64, known: usize| {
        from_top(Host, vocab(&format!("top {known}")), move |tokens| {
            let top = reference::top(&logits(seed, tokens, WIDTH), known);
            Ok(top.into_iter().map(|(id, p)| (id, p as f32)).collect())
        })
    };
    let (wide, narrow) = (black_box(4, 5), black_box(5, 3));
    let difference = model("tuned", 1) - model("untuned", 2);
    let proxy = &wide + &difference;
    let mass = |source: &Source<Host>| -> Vec<f32> {
        let (mut session, first) = source.session(&[[3].into(), [5, 1].into()]).unwrap();
        let second = session.extend(&[RowFeed::none(), RowFeed::all(vec![0, 2])]).unwrap();
        vec![first.known_mass(0), first.known_mass(1), second.known_mass(1)]
            .into_iter()
            .map(Option::unwrap)
            .collect()
    };
    let pairs = [
        (bridge(wide.clone(), Host), wide.clone()),
        (bridge(proxy.clone(), Host) - &difference, wide.clone()),
        (Source::opaque(wide.clone()) + &difference, wide.clone()),
        (Source::opaque(proxy.clone()) - &difference, wide.clone()),
        // Tokens that one of two black boxes does not know are unknown to both.
        (Source::opaque(wide.clone()) + &narrow, &wide + &narrow),
        (bridge(wide.clone(), Host) + Source::opaque(bridge(narrow.clone(), Host)), &wide + &narrow),
    ];
    for (source, direct) in pairs {
        let (got, expected) = (mass(&source), mass(&direct));
        assert!(expected.iter().all(|mass| (0.01..0.999).contains(mass)), "{expected:?}");
        let near = got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{source}: {got:?}, expected {expected:?}");
    }
}

#[test]
fn scores_of_texts_are_sums_of_log_probs() {
    let source = model("a", 1) + (model("b", 2) - model("c", 3));
    // More tokens than are scored at once, and rows of different lengths.
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
fn a_part_that_a_rule_subtracts_has_a_share_against_what_it_favours() {
    let (base, tuned, untuned) = (model("base", 1), model("tuned", 2), model("untuned", 3));
    // A nucleus of all tokens: the rule is the weighted sum everywhere.
    let rule = combine::nucleus_delta(&base, &tuned, &untuned, 1.5, 1.0).unwrap();
    let token = rule.generate([4], greedy().attribution(2).alternatives(3)).unwrap().next().unwrap().unwrap();
    let attribution = token.attribution.unwrap();
    let weights: Vec<_> = attribution.terms.iter().map(|t| (&t.name[..], t.weight)).collect();
    assert_eq!(weights, [("tuned", Some(1.0)), ("base", Some(1.5)), ("untuned", Some(-1.5))]);
    for (i, rival) in attribution.rivals.iter().enumerate() {
        let shares: f32 = attribution.terms.iter().map(|t| t.shares[i]).sum();
        let pick = token.alternatives.iter().find(|p| p.token == *rival).unwrap();
        assert!((shares - (token.log_prob - pick.log_prob)).abs() < 1e-3, "{shares}");
        let alone = reference::log_softmax(&logits(3, &[4], WIDTH));
        let favoured = alone[token.id as usize] - alone[*rival as usize];
        assert!((f64::from(attribution.terms[2].shares[i]) + 1.5 * favoured).abs() < 1e-3);
    }
    // A rule that is itself scaled is a term with that weight.
    let negative = -1.0 * combine::mixture([(0.5, &base), (0.5, &tuned)]).unwrap();
    let token = negative.generate([4], greedy().attribution(1)).unwrap().next().unwrap().unwrap();
    let terms = token.attribution.unwrap().terms;
    assert_eq!(terms.iter().map(|t| t.weight).collect::<Vec<_>>(), [Some(-1.0)]);
    assert!(terms[0].shares[0] > 0.0, "the margin of the combination");
}
