//! Sweeps over the shape of a weak-to-strong search.
use eft_core::search::{ChunkBeamSearch, ImplicitReward};
use eft_core::{Decoding, EngineSpec, FnEngine, Host, Sampling, Source, TokenId};
use eft_eval::stats::{Bootstrap, Clusters};
use eft_eval::sweep::{Part, Searched, SearchedText, Shape, choose, search};

use super::{model, scores, vocab};

fn shape(width: usize, successors: usize, chunk: usize) -> Shape {
    Shape { width, successors, chunk }
}

fn decoding(index: usize) -> Decoding {
    Decoding::from(Sampling::default().seed(index as u64)).max_tokens(6)
}

#[test]
fn the_texts_are_those_of_each_search_alone() {
    let (large, tuned, small) = (model("large", 1), model("tuned", 2), model("small", 3));
    let shapes = [shape(1, 1, 6), shape(2, 2, 1), shape(4, 4, 2), Shape::best_of(8)];
    let prompts: Vec<Vec<TokenId>> = (0..5).map(|id| vec![id, id + 1]).collect();
    let new = || ChunkBeamSearch::new(&large, ImplicitReward::new(&tuned, &small));
    let swept = search(&shapes, prompts.clone(), |index| new().decoding(decoding(index))).unwrap();
    for (shape, texts) in shapes.iter().zip(&swept) {
        for (index, (prompt, found)) in prompts.iter().zip(texts).enumerate() {
            let Shape { width, successors, chunk } = *shape;
            let alone = new().decoding(decoding(index)).width(width).successors(successors).chunk(chunk);
            let alone = alone.run(prompt.clone()).unwrap();
            let text = alone.best().continuation.to_text();
            let expected = Searched { text, guide: alone.best().score, drawn: alone.drawn };
            assert_eq!(found.as_ref().unwrap(), &expected);
        }
    }
    // A wider search finds texts that the guide likes better.
    let guide = |texts: &[SearchedText]| texts.iter().flatten().map(|found| found.guide).sum::<f64>();
    assert!(guide(&swept[2]) > guide(&swept[0]));
}

#[test]
fn the_shape_is_chosen_on_validation_items_and_the_cheapest_of_equals() {
    let part = |means: &[f64]| Part {
        scores: means.iter().map(|mean| vec![*mean; 3]).collect(),
        clusters: Clusters::each(3),
    };
    let shapes = [shape(4, 4, 5), shape(2, 2, 5), shape(2, 2, 30), shape(1, 1, 1)];
    let quick = Bootstrap::default().resamples(20);
    let choice = choose(&shapes, &part(&[0.9, 0.9, 0.9, 0.1]), &part(&[0.1, 0.2, 0.3, 0.4]), &quick).unwrap();
    assert_eq!((*choice.value(), choice.of_chosen().test.value), (shape(2, 2, 30), 0.3));
    let table = choice.to_string();
    assert!(table.lines().nth(3).is_some_and(|line| line.contains("2/2/30") && line.ends_with("← chosen")));
    assert_eq!(Shape::best_of(16).to_string(), "best of 16");
}

#[test]
fn a_prompt_that_is_refused_does_not_fail_the_others() {
    let spec = EngineSpec::new("short", Host, vocab("short")).context(6);
    let short: Source<Host> = Source::new(FnEngine::new(spec, |row| Ok(scores(1, &row.tokens))));
    let pair = || ImplicitReward::new(&short, &short);
    let shapes = [shape(2, 2, 1)];
    let prompts: [Vec<TokenId>; 3] = [vec![1; 9], vec![2], vec![]];
    let found =
        search(&shapes, prompts, |_| ChunkBeamSearch::new(&short, pair()).decoding(decoding(0))).unwrap();
    assert_eq!(found[0].iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    // What is wrong with the settings is an error.
    let none = search(&[shape(0, 1, 1)], [vec![1]], |_| ChunkBeamSearch::new(&short, pair()));
    assert!(none.is_err());
}
