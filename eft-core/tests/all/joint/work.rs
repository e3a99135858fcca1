//! What the models are asked to do.
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::*;

/// A trio of models that count their work, and the up-scaled sources of some weights.
fn upscaled(alphas: &[f32]) -> (Vec<Source<Host>>, [std::sync::Arc<Counts>; 3]) {
    let (large, of_large) = counted("large", 1, &[]);
    let (tuned, of_tuned) = counted("tuned", 3, &[]);
    let (small, of_small) = counted("small", 2, &[]);
    let sources = alphas.iter().map(|alpha| &large + *alpha * (&tuned - &small)).collect();
    (sources, [of_large, of_tuned, of_small])
}

/// The distinct beginnings of the texts of one prompt that are not whole texts: the rows that the steps need. The last
/// token of a text that reached its limit is not followed by another, and each beginning is read once.
fn beginnings<'a>(texts: impl IntoIterator<Item = &'a Vec<TokenId>>) -> usize {
    let texts = texts.into_iter();
    let all: BTreeSet<_> = texts.flat_map(|text| (0..text.len()).map(|length| &text[..length])).collect();
    all.len()
}

#[test]
fn each_model_reads_each_distinct_text_once() {
    let alphas = [0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 1.6, 2.0];
    let (sources, counts) = upscaled(&alphas);
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([]).max_tokens(12);
    let variants: Vec<_> = sources.into_iter().map(|source| Variant::new(source, &decoding)).collect();
    let prompts = [vec![1, 2, 3], vec![4]];
    let requests = prompts.clone().map(Request::new);
    let (outcomes, joint) = together(&variants, &requests);
    let texts: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().0).collect();
    // The texts of variant `v` are at `2 v` and `2 v + 1`.
    let of_prompt = |prompt: usize, from: usize| texts[2 * from..].iter().skip(prompt).step_by(2);
    let rows = |from: usize| [0, 1].map(|prompt| beginnings(of_prompt(prompt, from))).iter().sum::<usize>();

    let work = joint.work();
    assert_eq!((work.steps, work.row_steps, work.text_steps), (12, rows(0), 9 * 2 * 12));
    assert!(rows(0) < 9 * 2 * 12 * 3 / 4, "the texts of this test must agree for a while: {}", rows(0));

    // The prompts are read before the first step, so the first beginning of each prompt is not read again.
    let prompt_tokens = prompts.iter().map(Vec::len).sum::<usize>();
    let [large, tuned, small] = counts.each_ref().map(|counts| counts.take());
    assert_eq!(large, (12, prompt_tokens + rows(0) - 2));
    // The first variant does not need these.
    assert_eq!((tuned, small), ((12, prompt_tokens + rows(1) - 2), tuned));
}

/// Clones of one source are combined once, and their rows are shared until their texts differ.
#[test]
fn samples_and_settings_of_one_source_share_rows() {
    let (source, counts) = counted("m", 1, &[]);
    let variants = [0.2, 0.4, 0.0].map(|temperature| {
        let sampling = Sampling::default().temperature(temperature);
        Variant::new(source.clone(), Decoding::from(sampling).stop_ids([]).max_tokens(6))
    });
    let requests = [Request::new([1, 2]).samples(5)];
    let (outcomes, joint) = together(&variants, &requests);
    assert_same(&variants, &requests);
    let texts: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().0).collect();
    assert_eq!(joint.work().row_steps, beginnings(&texts));
    assert!(joint.work().row_steps < 15 * 6 / 2);
    assert!(counts.most_rows.load(Ordering::SeqCst) < 15);
}
