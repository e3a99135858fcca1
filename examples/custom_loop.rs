//! Decoding loops of your own over `large + α·(tuned − untuned)`, and a measurement of how much the sum gains.
//!
//! ```sh
//! cargo run --release --example custom_loop -- "When I "
//! ```
//!
//! The large and the small model are n-gram models (`common/ngram.rs`) that look at the last 5 bytes and at the last
//! byte. Both are trained on prose, and the small one is then tuned on verse, since the large one stands for a model
//! that would be too expensive to tune. `wrap_your_model` shows how such a model becomes a source with a cache;
//! [`eft::from_fn`], used here, needs only a function.
//!
//! The orders of the models were chosen with the held-out texts in view, for an effect that is easy to see. The sum is
//! better than its base on verse with other orders, too; whether it is better than the small tuned model depends on
//! them. With a small model that looks at the last 2 bytes the two are about equal (-2.087 and -2.098).
mod common;

use common::ngram::{END, Ngram};
use common::{Corpus, decode, from_ngram, vocab};
use eft::{
    Backend, Decoding, Evaluator, Host, Prompt, Result, RowFeed, Sampler, Sampling, Session, Source, TokenId,
};

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("When I ".into());
    let (prose, verse, vocab) = (Corpus::prose(), Corpus::verse(), vocab()?);
    let (large, small) = (Ngram::new(6).trained(prose.training()), Ngram::new(2).trained(prose.training()));
    // The model that the sum emulates, which would be too expensive if `large` were really large.
    let large_tuned = from_ngram("large tuned", large.clone().trained(verse.training()), &vocab)?;
    let tuned = from_ngram("tuned", small.clone().trained(verse.training()), &vocab)?;
    let (large, untuned) = (from_ngram("large", large, &vocab)?, from_ngram("untuned", small, &vocab)?);
    let upscaled = |alpha: f32| &large + alpha * (&tuned - &untuned);

    println!("Mean log-probability of a byte, in held-out verse and in held-out prose:");
    let combinations = [0.0, 0.5, 1.0, 1.5].map(upscaled);
    for source in [&untuned, &tuned].into_iter().chain(&combinations).chain([&large_tuned]) {
        println!("  {:6.3} {:6.3}  {source}", verse.held_out_score(source)?, prose.held_out_score(source)?);
    }
    let [base, _, summed, _] = &combinations;
    let at = verse.held_out_score(base)?;
    let (gained, possible) = (verse.held_out_score(summed)? - at, verse.held_out_score(&large_tuned)? - at);
    println!("  `{summed}` gains {:.0} % of what tuning `large` itself gains", 100.0 * gained / possible);

    println!("\nTexts sampled by a loop of your own:");
    let decoding = Decoding::from(Sampling::default().top_p(0.8).seed(1)).max_tokens(160);
    for source in &combinations {
        println!("  {source}:\n    {prompt}{}", on_one_line(&sampled(source, &prompt[..], &decoding)?));
    }

    println!("\nGreedy text of `{summed}`, drafted by `{tuned}`:");
    let (ids, passes) = drafted(summed, &tuned, &prompt[..], 120)?;
    let plain = summed.generate(&prompt[..], Decoding::from(Sampling::greedy()).max_tokens(120))?;
    assert_eq!(ids, plain.map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?);
    println!("    {prompt}{}", on_one_line(&ids));
    println!("  {} bytes in {passes} passes of the large model, the same as by plain decoding", ids.len());
    Ok(())
}

/// The loop of `generate`, written out.
fn sampled(source: &Source<Host>, prompt: impl Into<Prompt>, decoding: &Decoding) -> Result<Vec<TokenId>> {
    let (mut session, mut scores) = source.session(&[prompt.into()])?;
    // A sampler does not know the source, so it must be given its end-of-sequence ids.
    let mut sampler = Sampler::new(Host, &decoding.clone().stop_ids(source.stop_ids()), 1)?;
    while let Some(token) = sampler.next(&scores)? {
        scores = session.extend(&[RowFeed::one(token)])?;
    }
    Ok(sampler.generated(0).to_vec())
}

/// A loop that `generate` does not have: greedy speculative decoding with blocks of one length. `draft` writes a few
/// tokens ahead, and one pass of `target` shows how many of them it would have written itself. Both are roots of one
/// evaluator, so a draft that is a term of its target does not run twice. Returns the tokens and the number of passes
/// of the target.
fn drafted(
    target: &Source<Host>,
    draft: &Source<Host>,
    prompt: impl Into<Prompt>,
    max_tokens: usize,
) -> Result<(Vec<TokenId>, usize)> {
    const AHEAD: usize = 4;
    let (mut evaluator, mut passes) = (Evaluator::open(&[target, draft], &[prompt.into()])?, 0);
    loop {
        let accepted = evaluator.pushed(0).len();
        for _ in 0..AHEAD {
            let scores = evaluator.eval_last(1)?;
            let pick = Host.argmax(&scores.last()?, scores.width())?[0];
            evaluator.push(&[vec![pick.token]])?;
        }
        // The target's choice after the accepted tokens, and after each drafted token: one more than was drafted.
        let positions = accepted..accepted + AHEAD + 1;
        let scores = evaluator.eval(0, &[positions])?;
        let own: Vec<_> =
            Host.argmax(&scores.positions(0), scores.width())?.iter().map(|p| p.token).collect();
        passes += 1;
        let agreed = evaluator.pushed(0)[accepted..].iter().zip(&own).take_while(|(a, b)| a == b).count();
        // The first token that differs is replaced by the target's.
        evaluator.rollback(&[AHEAD - agreed])?;
        evaluator.push(&[vec![own[agreed]]])?;
        evaluator.commit();

        let ended = evaluator.pushed(0)[accepted..].iter().position(|token| *token == END);
        let length = ended.map_or(evaluator.pushed(0).len(), |at| accepted + at);
        if ended.is_some() || length >= max_tokens {
            return Ok((evaluator.pushed(0)[..length.min(max_tokens)].to_vec(), passes));
        }
    }
}

fn on_one_line(ids: &[TokenId]) -> String {
    decode(ids.iter().copied()).replace('\n', " / ")
}
