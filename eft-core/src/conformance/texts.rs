//! Texts generated with a backend, compared with those of the host.
use super::{Law, Result, SourceTest, check_source, check_traffic, require};
use crate::backend::Backend;
use crate::sample::{Purpose, RepetitionPenalty, Uniforms};
use crate::{Decoding, Host, Sampling, Source, TokenId, Vocab, from_fn};

const WIDTH: usize = 600;

/// Checks that a source on this backend obeys the laws of sources, and that a combination of such sources gives the
/// same tokens as on the host: for greedy decoding, and for sampling under every filter and a processor, with the same
/// seed.
///
/// ```no_run
/// use eft_core::{Host, conformance::check_texts};
///
/// check_texts(&Host)?; // your own backend
/// # Ok::<(), eft_core::conformance::Failure>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold.
pub fn check_texts<B: Backend>(backend: &B) -> Result {
    let test = SourceTest::new([vec![0], vec![1, 0, 1], vec![5, 9]]);
    let source = model(backend, 1)?;
    check_source(&source, &test)?;
    check_traffic(&source, &test)?;
    let (got, expected) = (texts(backend)?, texts(&Host)?);
    require(got == expected, "a seed gives the same text as on the host", || {
        format!("{got:?}, expected {expected:?}")
    })
}

/// Makes a model of noise that depends on the last three tokens, the same on every backend.
fn model<B: Backend>(backend: &B, seed: u64) -> Result<Source<B>> {
    let vocab = Vocab::new("toy", (0..WIDTH).map(|id| format!("<{id}>"))).law("vocabularies can be made")?;
    Ok(from_fn(backend.clone(), vocab, move |tokens| {
        let last = tokens.iter().rev().take(3).fold(seed, |hash, token| hash * 31 + u64::from(*token));
        let uniforms = Uniforms::new(last);
        Ok((0..WIDTH).map(|id| 8.0 * uniforms.at(0, id, Purpose::Draw) as f32).collect())
    }))
}

/// Generates a few texts by a combination.
fn texts<B: Backend>(backend: &B) -> Result<Vec<Vec<TokenId>>> {
    let (large, tuned, small) = (model(backend, 1)?, model(backend, 2)?, model(backend, 3)?);
    let upscaled = &large + 0.7 * (&tuned - &small);
    let filtered = Sampling::default().temperature(0.8).top_k(40).top_p(0.9).min_p(0.01);
    let settings = [Sampling::greedy(), Sampling::default().seed(3), filtered.seed(4), filtered.seed(5)];
    let generate = |sampling: Sampling| {
        let decoding = Decoding::from(sampling).processor(RepetitionPenalty::new(1.2)?).max_tokens(40);
        upscaled.generate([1, 2], decoding)?.map(|token| Ok(token?.id)).collect()
    };
    settings.into_iter().map(generate).collect::<crate::Result<_>>().law("texts can be generated")
}
