//! Decoding loops of your own over `large + α·(tuned − untuned)`, and what the sum is worth, measured.
//!
//! ```sh
//! cargo run --release --example custom_loop -- "When I "
//! ```
//!
//! Large and small are n-gram models (`common/ngram.rs`) that look back 5 bytes and 1 byte. Both have read prose; the
//! small one was then tuned on verse, as a large model might be too dear to be. `wrap_your_model` shows how such a
//! model becomes a source with a cache; here [`eft::from_fn`] does, which needs a function only.
//!
//! The orders of the models were picked, with the held-out texts in sight, so that there is something to see. That the
//! sum beats its base on verse does not hang on them; that it beats the small tuned model does. Where the small one
//! looks back 2 bytes, the two are as good as equal (-2.087 and -2.098).
mod common;

use common::ngram::{END, Ngram};
use common::{Corpus, decode, from_ngram, vocab};
use eft::{
    Backend, Decoding, Evaluator, Host, Prompt, Result, RowFeed, Sampler, Sampling, Session, Source, TokenId,
};

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("When I ".into());
    let (prose, verse, vocab) = (Corpus::prose(), Corpus::verse(), vocab()?);
    let (large, small) = (Ngram::new(6).trained(prose.learnt()), Ngram::new(2).trained(prose.learnt()));
    // What up-scaling emulates, and could not be had if `large` were as large as the name says.
    let large_tuned = from_ngram("large tuned", large.clone().trained(verse.learnt()), &vocab)?;
    let tuned = from_ngram("tuned", small.clone().trained(verse.learnt()), &vocab)?;
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
    println!("  `{summed}` has {:.0} % of what tuning `large` itself would gain", 100.0 * gained / possible);

    println!("\nTexts of a loop of one's own:");
    let decoding = Decoding::from(Sampling::default().top_p(0.8).seed(1)).max_tokens(160);
    for source in &combinations {
        println!("  {source}:\n    {prompt}{}", on_one_line(&sampled(source, &prompt[..], &decoding)?));
    }

    println!("\nGreedy text of `{summed}`, drafted by `{tuned}`:");
    let (ids, passes) = drafted(summed, &tuned, &prompt[..], 120)?;
    let plain = summed.generate(&prompt[..], Decoding::from(Sampling::greedy()).max_tokens(120))?;
    assert_eq!(ids, plain.map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?);
    println!("    {prompt}{}", on_one_line(&ids));
    println!(
        "  {} bytes in {passes} passes of the large model, and not one differs from plain decoding",
        ids.len()
    );
    Ok(())
}

/// The loop that `generate` runs, by hand.
fn sampled(source: &Source<Host>, prompt: impl Into<Prompt>, decoding: &Decoding) -> Result<Vec<TokenId>> {
    let (mut session, mut scores) = source.session(&[prompt.into()])?;
    // A sampler knows no source: it ends at the ids it is given, and at none else.
    let mut sampler = Sampler::new(Host, &decoding.clone().stop_ids(source.stop_ids()), 1)?;
    while let Some(token) = sampler.next(&scores)? {
        scores = session.extend(&[RowFeed::one(token)])?;
    }
    Ok(sampler.generated(0).to_vec())
}

/// A loop that `generate` does not offer: `draft` writes a few tokens ahead, and `target` says in one pass how many
/// of them it would have written itself. Both are roots of one evaluator, so that a draft which is a term of its target
/// does not run twice.
fn drafted(
    target: &Source<Host>,
    draft: &Source<Host>,
    prompt: impl Into<Prompt>,
    max_tokens: usize,
) -> Result<(Vec<TokenId>, usize)> {
    const AHEAD: usize = 4;
    let (mut evaluator, mut passes) = (Evaluator::open(&[target, draft], &[prompt.into()])?, 0);
    loop {
        let sure = evaluator.pushed(0).len();
        for _ in 0..AHEAD {
            let scores = evaluator.eval_last(1)?;
            let pick = Host.argmax(&scores.last()?, scores.width())?[0];
            evaluator.push(&[vec![pick.token]])?;
        }
        // The target's choice after what was sure, and after each token of the draft: one more than was drafted.
        let positions = sure..sure + AHEAD + 1;
        let scores = evaluator.eval(0, &[positions])?;
        let own: Vec<_> =
            Host.argmax(&scores.positions(0), scores.width())?.iter().map(|p| p.token).collect();
        passes += 1;
        let agreed = evaluator.pushed(0)[sure..].iter().zip(&own).take_while(|(a, b)| a == b).count();
        // Where they part, the token is the target's.
        evaluator.rollback(&[AHEAD - agreed])?;
        evaluator.push(&[vec![own[agreed]]])?;
        evaluator.commit();

        let ended = evaluator.pushed(0)[sure..].iter().position(|token| *token == END);
        let length = ended.map_or(evaluator.pushed(0).len(), |at| sure + at);
        if ended.is_some() || length >= max_tokens {
            return Ok((evaluator.pushed(0)[..length.min(max_tokens)].to_vec(), passes));
        }
    }
}

fn on_one_line(ids: &[TokenId]) -> String {
    decode(ids.iter().copied()).replace('\n', " / ")
}
