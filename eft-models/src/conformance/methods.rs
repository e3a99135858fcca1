//! Checks of speculative decoding, search and threads over real decoders.
use eft_core::score::implicit_reward;
use eft_core::search::{ChunkBeamSearch, ImplicitReward};
use eft_core::speculate::Lookup;
use eft_core::{Backend, Decoding, Sampling, Source, TokenId};

use super::goldens::{model, texts};
use super::{Verdict, require};
use crate::Nn;

/// Checks that speculative decoding gives the texts of plain decoding, that searches sample and score as the base and
/// the guide do, and that threads that share a model do not disturb each other.
///
/// # Errors
/// Returns the first check that fails, in words.
pub fn check_methods<N: Nn>(nn: &N) -> Verdict<()> {
    let base = model(nn, "qwen2", &["qwen2-lora", "qwen2-rslora"])?;
    let (first, second) = (base.adapter("qwen2-lora")?, base.adapter("qwen2-rslora")?);
    // The same weights in a separate engine.
    let alone = model(nn, "qwen2", &[])?;
    check_speculation(&(&base + 0.5 * (&first - &second)), &[&base, &first, &alone])?;
    check_search(&alone, &first, &base)?;
    check_threads(&alone)
}

/// Drafts by a term that shares the target's passes, by an adapter of it, and by a separate engine.
fn check_speculation<B: Backend>(target: &Source<B>, drafts: &[&Source<B>]) -> Verdict<()> {
    let prompts: Vec<Vec<TokenId>> = vec![vec![3, 14, 15], vec![9], vec![2, 6, 5, 3, 5]];
    for sampling in [Sampling::greedy(), Sampling::default().temperature(0.6).top_p(0.9).seed(3)] {
        let decoding = Decoding::from(sampling).stop_ids([]).max_tokens(24);
        let plain = texts(target.generate_batch(prompts.clone(), &decoding)?, 3)?;
        for draft in drafts {
            let speculative = target.speculate().draft(draft).same_text();
            let fixed = |tokens| speculative.clone().block(tokens);
            // Drafts that are found in the text, beside the model and without it.
            let looked_up = fixed(4).lookup(Lookup::default().least(1));
            let ways =
                [fixed(1), fixed(4), looked_up.clone(), looked_up.without_model(), speculative.clone()];
            for speculative in ways {
                let drafted = texts(speculative.generate_batch(prompts.clone(), &decoding)?, 3)?;
                require(drafted == plain, || format!("drafted by {draft}: {drafted:?}, not {plain:?}"))?;
            }
        }
    }
    Ok(())
}

fn check_search<B: Backend>(large: &Source<B>, tuned: &Source<B>, untuned: &Source<B>) -> Verdict<()> {
    let prompt = [3, 14, 15];
    let decoding = Decoding::from(Sampling::default().seed(4)).stop_ids([]).max_tokens(20);
    let search = || ChunkBeamSearch::new(large, ImplicitReward::new(tuned, untuned)).decoding(&decoding);
    let plain = texts(large.generate_batch([prompt], &decoding)?, 1)?;
    let sampled = search().width(1).successors(1).chunk(7).run(prompt)?;
    let text = &sampled.best().continuation.tokens;
    require(*text == plain[0], || format!("a search of one row gives {text:?}, sampling {:?}", plain[0]))?;
    let found = search().width(2).successors(3).chunk(4).run(prompt)?;
    require(found.drawn == 6 * 20, || format!("{} tokens were drawn by six rows of 20", found.drawn))?;
    let (best, one) = (found.best().score, sampled.best().score);
    require(best >= one, || format!("the best of six scores {best}, of one {one}"))?;
    for candidate in &found.candidates {
        let reward = implicit_reward(tuned, untuned, prompt, &candidate.continuation.tokens, 1.0)?;
        let score = candidate.score;
        require((score - reward.total).abs() < 1e-3, || format!("a score of {score}, not {}", reward.total))?;
    }
    Ok(())
}

fn check_threads<B: Backend>(source: &Source<B>) -> Verdict<()> {
    let text = |seed: u64| {
        let decoding = Decoding::from(Sampling::default().seed(seed)).stop_ids([]).max_tokens(16);
        texts(source.generate_batch([[3, 14, 15]], decoding)?, 1)
    };
    let alone = (0..4).map(text).collect::<eft_core::Result<Vec<_>>>()?;
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || text(seed))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect::<eft_core::Result<Vec<_>>>()
    })?;
    require(together == alone, || format!("in threads {together:?}, alone {alone:?}"))
}
