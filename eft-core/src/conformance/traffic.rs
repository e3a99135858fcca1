//! [`check_traffic`]: limits what a decoding step copies between the device and the host.
use super::{Law, Result, SourceTest, TrafficCounter, count_traffic, require};
use crate::backend::Backend;
use crate::decode::Decoding;
use crate::sample::{FrequencyPenalty, LogitBias, RepetitionPenalty};
use crate::{Sampling, Source};

/// Checks that decoding from a source copies nothing between the device and the host but token ids, uniform numbers,
/// masks and the requested log-probabilities; copying a whole score row is a failure. It decodes greedily and by
/// sampling with every filter and processor, with alternatives and attribution, from the source and from combinations
/// of it.
///
/// ```
/// use eft_core::conformance::{SourceTest, check_traffic};
/// use eft_core::{Host, Vocab, from_fn};
///
/// let source = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |tokens| Ok(vec![tokens.len() as f32, 0.5]));
/// check_traffic(&source, &SourceTest::new([vec![0], vec![1, 0, 1]]))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returns the first law that does not hold.
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
            require(traffic.row_floats == 0, "no score row is copied in a decoding step", details)?;
            // For each token: the pick with its log-probabilities; alternatives and rivals, each with its
            // log-probability; the log-probabilities that the terms give the token and its rivals; and the probability
            // that a gate reads, twice since the gate is a term, too.
            let each = 3 + 2 * alternatives + 2 * (rivals + 1) + 3 * (rivals + 1) + 4;
            let most = each * steps * test.prompts().len();
            require(traffic.numbers <= most, "no more numbers are copied than were requested", details)?;
        }
    }
    Ok(())
}
