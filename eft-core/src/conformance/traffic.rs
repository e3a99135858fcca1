//! What crosses between device and host in a decoding step.
use super::{Law, Result, SourceTest, TrafficCounter, count_traffic, require};
use crate::backend::Backend;
use crate::decode::Decoding;
use crate::sample::{FrequencyPenalty, LogitBias, RepetitionPenalty};
use crate::{Sampling, Source};

/// Checks that decoding from a source moves nothing between device and host but token ids, uniforms, masks and the
/// log-probabilities asked for: a whole row of scores fails. Tried are greedy decoding and sampling with every
/// filter and processor, with alternatives and attribution, of the source and of combinations of it.
///
/// # Errors
/// The first law that does not hold.
pub fn check_traffic<B: Backend>(source: &Source<B>, test: &SourceTest) -> Result {
    let counter = TrafficCounter::new(source.backend().clone());
    let part = |name: &str| count_traffic(source.clone(), &counter).named(name);
    let (a, b, c) = (part("a"), part("b"), part("c"));
    let combinations = [
        a.clone(),
        &a + 0.5 * (&b - 0.5 * &c),
        crate::combine::nucleus_delta(&a, &b, &c, 1.0, 0.9).law("combinations can be made")?,
        crate::combine::mixture([(0.5, &a), (0.5, &b)]).law("combinations can be made")?,
        crate::combine::gate(&a, &b, 0.5).law("combinations can be made")?,
    ];
    let (alternatives, rivals, steps) = (3, 2, 4);
    let sampled = Sampling::default().temperature(0.8).top_k(50).top_p(0.95).min_p(0.01);
    let processed = Decoding::from(sampled)
        .processor(RepetitionPenalty::new(1.1).law("processors can be made")?)
        .processor(FrequencyPenalty::new(0.1).law("processors can be made")?)
        .processor(LogitBias::new([(0, 0.5)]).law("processors can be made")?);
    for decoding in [Decoding::from(Sampling::greedy()), Decoding::from(sampled), processed] {
        for combination in &combinations {
            counter.reset();
            let decoding = decoding.clone().max_tokens(steps).alternatives(alternatives).attribution(rivals);
            let batch = combination.generate_batch(test.prompts().iter().cloned(), decoding);
            for event in batch.law("texts can be generated")? {
                event.law("texts can be generated")?;
            }
            let traffic = counter.traffic();
            let details = || format!("{combination}: {traffic:?} in {steps} steps");
            require(traffic.row_floats == 0, "no row of scores crosses in a decoding step", details)?;
            // A pick and its log-probabilities; alternatives and rivals, which come with theirs; the terms' say on
            // token and rivals; and the one probability that a gate looks at, twice since it is a term as well.
            let each = 3 + 2 * alternatives + 2 * (rivals + 1) + 3 * (rivals + 1) + 4;
            let most = each * steps * test.prompts().len();
            require(traffic.numbers <= most, "no more numbers cross than were asked for", details)?;
        }
    }
    Ok(())
}
