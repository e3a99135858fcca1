//! Log-probabilities are normalised over the common tokens, and no others.
use eft_core::conformance::reference;
use eft_core::{EngineSpec, Evaluator, FnEngine, Form, Host, Scores, Source, Vocab, combine};

use crate::common::*;

/// Log-probabilities over all ids of a vocabulary, whether they are tokens or not.
fn log_probs_over_all(vocab: Vocab, seed: u64) -> Source<Host> {
    let (name, width) = (vocab.name().to_owned(), vocab.width());
    let engine = FnEngine::new(EngineSpec::new(name, Host, vocab), move |row| {
        let normalised = reference::log_softmax(&logits(seed, &row.tokens, width));
        Ok(normalised.into_iter().map(|x| x as f32).collect())
    });
    Source::new(engine.form(Form::LogProbs))
}

fn masses(scores: &Scores<Host>) -> Vec<f64> {
    values(scores).iter().map(|row| row.iter().map(|x| f64::from(x.exp())).sum()).collect()
}

#[test]
fn log_probs_of_a_single_model_are_normalised_over_its_tokens() {
    // A row has scores for 16 ids, of which 11 are tokens.
    let padded = log_probs_over_all(vocab("padded").with_width(16).unwrap(), 1);
    let mut evaluator =
        Evaluator::open(&[&padded, &(&padded + model("other", 2))], &[[1, 2].into()]).unwrap();
    evaluator.push(&[vec![3]]).unwrap();
    let scores = evaluator.eval_from(0, &[0]).unwrap();
    assert_eq!((scores.width(), scores.form()), (WIDTH, Form::LogProbs));
    for mass in masses(&scores) {
        assert!((mass - 1.0).abs() < 1e-5, "{mass}");
    }
    let expected = reference::log_softmax(&logits(1, &[1, 2, 3], 16)[..WIDTH]);
    let expected: Vec<_> = expected.into_iter().map(|x| x as f32).collect();
    assert_near(&values(&scores)[1], &expected, 1e-5);
}

#[test]
fn parts_of_a_rule_are_normalised_over_the_tokens_they_share() {
    // Ids 3 and 7 are unassigned, and the models give them much of the mass.
    let vocab = |name: &str| {
        let letter = |id: u8| (id != 3 && id != 7).then(|| vec![b'a' + id]);
        Vocab::sparse(name, (0..WIDTH as u8).map(letter)).unwrap()
    };
    let unassigned = [3, 7];
    let raw = |seed: u64| {
        let mut row = logits(seed, &[1, 2], WIDTH);
        unassigned.iter().for_each(|id| row[*id] += 2.0 * seed as f32);
        row
    };
    let source = |name: &str, seed: u64| {
        eft_core::from_fn(Host, vocab(name), move |tokens| {
            let mut row = logits(seed, tokens, WIDTH);
            unassigned.iter().for_each(|id| row[*id] += 2.0 * seed as f32);
            Ok(row)
        })
    };
    let normalised = |seed: u64| {
        let mut row = raw(seed);
        unassigned.iter().for_each(|id| row[*id] = f32::NEG_INFINITY);
        reference::log_softmax(&row)
    };
    let (a, b, c) = (source("a", 1), source("b", 2), source("c", 3));
    let (pa, pb, pc) = (normalised(1), normalised(2), normalised(3));
    let mixture = combine::mixture([(0.3, &a), (0.7, &b)]).unwrap();
    let expected: Vec<_> = (0..WIDTH).map(|i| (0.3 * pa[i].exp() + 0.7 * pb[i].exp()).ln() as f32).collect();
    assert_near(&log_probs_after(&mixture, &[1, 2], &[]), &expected, 1e-4);

    // A rule that subtracts gives no NaN for unassigned ids.
    let upscaled = combine::nucleus_delta(&a, &b, &c, 1.0, 1.0).unwrap();
    let sums = (0..WIDTH)
        .map(|i| if unassigned.contains(&i) { f32::NEG_INFINITY } else { (pb[i] + pa[i] - pc[i]) as f32 });
    let expected: Vec<_> =
        reference::log_softmax(&sums.collect::<Vec<_>>()).into_iter().map(|x| x as f32).collect();
    assert_near(&log_probs_after(&upscaled, &[1, 2], &[]), &expected, 1e-4);
}
