//! Weak-to-strong search: a small tuned and untuned pair chooses among what the large base writes.
use anyhow::Result;
use eft::candle::Candle;
use eft::decode::{Detokenizer, FinishReason};
use eft::search::{BlackBox, ChunkBeamSearch, ImplicitReward, Proposer, SampledText};
use eft::{Decoding, Prompt, Sampling};
use eft_eval::stats::Clusters;
use eft_eval::sweep::{Part, Shape, choose};

use crate::answers::{Question, bootstrap, people, questions, right};
use crate::models::{Models, Source};
use crate::section::{self, Section};

/// How many questions are asked.
const QUESTIONS: usize = 60;

/// Ways to search: the texts kept, the continuations of each, and the tokens of a chunk.
const SHAPES: [Shape; 3] = [shape(2, 2, 1), shape(4, 4, 1), shape(4, 4, 2)];

const fn shape(width: usize, successors: usize, chunk: usize) -> Shape {
    Shape { width, successors, chunk }
}

pub(crate) fn run(models: &Models) -> Result<Section> {
    let Models { base_large, base_small, tuned_small, other_base, other_tuned, .. } = models;
    let mut asked = questions("questions/test-short.jsonl")?;
    asked.truncate(QUESTIONS);
    let pair = || ImplicitReward::new(tuned_small, base_small);
    let other_pair = || ImplicitReward::new(other_tuned, other_base);
    let black_box = black_box(base_large);
    let mut section = Section::new(
        "Weak-to-strong search: what a guide of two small models finds among the base's texts",
        "Weak-to-strong search (arXiv 2405.19262): W = K = 4, C = 5 beats best-of-16 at equal cost, white box and black box.",
        ["method (W/K/C)", "guide's score, nats", "right, word for word", "tokens sampled"],
    );
    let mut shares = Vec::new();
    let mut add = |name: String, found: Vec<Found>| -> Result<()> {
        let clusters = people(&asked);
        let of = |value: fn(&Found) -> f64| found.iter().map(value).collect::<Vec<_>>();
        let hits = bootstrap().mean(&of(|f| f.right), &clusters)?;
        let sampled = bootstrap().mean(&of(|f| f.drawn), &Clusters::each(found.len()))?;
        section.row([
            name,
            section::number(&bootstrap().mean(&of(|f| f.score), &clusters)?),
            section::share(&hits),
            section::number(&sampled),
        ]);
        shares.push(hits);
        Ok(())
    };
    add("a sample of the base".into(), search(base_large, &pair, Shape::best_of(1), &asked)?)?;
    for rows in [4, 16, 64] {
        add(format!("best of {rows}"), search(base_large, &pair, Shape::best_of(rows), &asked)?)?;
    }
    let mut of_test = Vec::new();
    for shape in SHAPES {
        let found = search(base_large, &pair, shape, &asked)?;
        of_test.push(found.iter().map(|found| found.right).collect());
        add(format!("search {shape}"), found)?;
    }
    let mut to_choose = questions("questions/validation-short.jsonl")?;
    to_choose.truncate(QUESTIONS);
    let of_validation = SHAPES.iter().map(|shape| {
        let found = search(base_large, &pair, *shape, &to_choose)?;
        Ok(found.iter().map(|found| found.right).collect())
    });
    let of_validation = Part { scores: of_validation.collect::<Result<_>>()?, clusters: people(&to_choose) };
    let of_test = Part { scores: of_test, clusters: people(&asked) };
    let choice = choose(&SHAPES, &of_validation, &of_test, &bootstrap())?;
    let best = SHAPES[1];
    add("search 4/4/1, guide of another tokenizer".into(), search(base_large, &other_pair, best, &asked)?)?;
    add("search 4/4/1, black-box base".into(), search(&black_box, &pair, best, &asked)?)?;
    add("search 4/4/1, black box and other guide".into(), search(&black_box, &other_pair, best, &asked)?)?;
    add("EFT, token by token".into(), emulated(models, &asked)?)?;

    section.finding(format!(
        "Of the three shapes, {} is chosen on {} validation questions, where it is right on {}; on the test questions it is \
         right on {}.",
        choice.value(),
        to_choose.len(),
        section::share(&choice.of_chosen().validation),
        section::share(&choice.of_chosen().test),
    ));
    let (best_of_16, beam) = (&shares[2], &shares[5]);
    section.finding(format!(
        "At 16 candidates, search by single tokens is right on {} and best-of-16 on {}{}",
        section::share(beam),
        section::share(best_of_16),
        match beam.interval.low > best_of_16.interval.high {
            true => ": guiding along the way finds more than choosing at the end, as the paper says.",
            false => {
                ": the miniature does not show the paper's gain. Its answers have four tokens, so choosing among whole ones \
                 is easy."
            }
        }
    ));
    section.finding(
        "Answers have four tokens here, so chunks are shorter than in the paper. EFT uses the same small pair on every token \
         and needs the base's logits; search needs only its texts.",
    );
    Ok(section)
}

/// What was found for a question.
struct Found {
    score: f64,
    right: f64,
    /// The number of tokens that the base sampled.
    drawn: f64,
}

/// Each question has a seed of its own: with one seed, all of them would draw with the same random numbers.
fn decoding(seed: u64) -> Decoding {
    Decoding::from(Sampling::default().temperature(0.7).seed(seed)).max_tokens(32)
}

/// The distance between the seeds of two questions: a black box uses up one seed at each call.
const SEEDS: u64 = 1 << 20;

fn search(
    base: &dyn Proposer,
    guide: &dyn Fn() -> ImplicitReward<Candle>,
    shape: Shape,
    questions: &[Question],
) -> Result<Vec<Found>> {
    let found = (0..).step_by(SEEDS as usize).zip(questions).map(|(seed, question)| {
        let search = ChunkBeamSearch::new(base, guide()).decoding(decoding(seed));
        let found = shape.apply(search).run(question.prompt())?;
        let best = found.best();
        let hit = right(question, &best.continuation.to_text());
        Ok(Found { score: best.score, right: f64::from(u8::from(hit)), drawn: found.drawn as f64 })
    });
    found.collect()
}

/// Samples from `base_large + (tuned_small − base_small)`.
fn emulated(models: &Models, questions: &[Question]) -> Result<Vec<Found>> {
    let source = models.up_scaled(&models.tuned_small, 1.0);
    let found = (0..).step_by(SEEDS as usize).zip(questions).map(|(seed, question)| {
        let (text, tokens) = sample(&source, question.prompt(), &decoding(seed))?;
        let ids = models.tuned_small.continuation(&text.text)?;
        let ids = [ids, text.ended.then_some(tokens.1).into_iter().collect()].concat();
        let score = |model: &Source| anyhow::Ok(model.score(question.prompt(), &ids)?.total);
        let score = score(&models.tuned_small)? - score(&models.base_small)?;
        let hit = right(question, &text.text);
        Ok(Found { score, right: f64::from(u8::from(hit)), drawn: tokens.0 as f64 })
    });
    found.collect()
}

/// Samples a text. Returns it with the number of its tokens and the token that ended it (0 if none did).
fn sample(source: &Source, prompt: Prompt, decoding: &Decoding) -> eft::Result<(SampledText, (usize, u32))> {
    let mut generation = source.generate(prompt, decoding)?;
    let mut detokenizer = Detokenizer::new(generation.vocab().clone());
    let (mut text, mut tokens) = (String::new(), 0);
    for token in generation.by_ref() {
        text += &detokenizer.push(token?.id);
        tokens += 1;
    }
    text += &detokenizer.finish();
    let end = match generation.finished().map(|finished| &finished.reason) {
        Some(FinishReason::EndOfSequence(id)) => Some(*id),
        _ => None,
    };
    tokens += usize::from(end.is_some());
    Ok((SampledText { text, tokens, ended: end.is_some() }, (tokens, end.unwrap_or(0))))
}

/// `base_large` as a service that continues texts and tells nothing else.
fn black_box(base: &Source) -> BlackBox {
    let base = base.clone();
    BlackBox::new(move |prompt: &Prompt, text: &str, max_tokens, seed| {
        let ids = [base.render(prompt.clone())?, base.continuation(text)?].concat();
        let decoding = Decoding::from(Sampling::default().temperature(0.7).seed(seed)).max_tokens(max_tokens);
        Ok(sample(&base, Prompt::Tokens(ids), &decoding)?.0)
    })
}
