//! What crosses between the device and the host for each token of a combination of three models.
use eft::conformance::{Traffic, TrafficCounter, count_traffic};
use eft::{Backend, Decoding, Sampling, Source, TokenId};
use serde::Serialize;

/// The most numbers that a token may need: the token and its log-prob to the host; to the device the weights of three terms,
/// and for a draw the settings of the filters and a uniform number.
const TO_HOST: usize = 2;
const TO_DEVICE: usize = 3 + 4 + 1;

/// The numbers copied for each token by one way of decoding. None of them is wider than 8 bytes.
///
/// Counted are the operations on scores, not what the models' passes read: the tokens' ids and positions, which are a few
/// numbers for each new token, whatever the length of the text.
#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) decoding: &'static str,
    /// Scores in whole rows, which must be none.
    pub(crate) row_floats: f64,
    pub(crate) to_host: f64,
    pub(crate) to_device: f64,
    /// Whether all are within their bounds.
    pub(crate) bounded: bool,
}

/// Counts the numbers for each of `tokens` tokens of `large + (tuned − small)`, chosen greedily and drawn with filters.
pub(crate) fn count<B: Backend>(
    [large, tuned, small]: [&Source<B>; 3],
    prompt: &[TokenId],
    tokens: usize,
) -> eft::Result<Vec<Counted>> {
    let drawn = Sampling::default().temperature(0.8).top_k(50).top_p(0.95).seed(7);
    let ways = [("greedy", Sampling::greedy()), ("drawn, with top-k and top-p", drawn)];
    let one = |(decoding, sampling): (&'static str, Sampling)| {
        let counter = TrafficCounter::new(large.backend().clone());
        let counted = |source: &Source<B>| count_traffic(source.clone(), &counter);
        let sum = &counted(large) + (&counted(tuned) - &counted(small));
        let settings = Decoding::from(sampling).stop_ids([]).max_tokens(tokens);
        sum.generate(prompt, settings)?.try_for_each(|token| token.map(drop))?;
        let Traffic { row_floats, numbers, sent, .. } = counter.traffic();
        let each = |count: usize| count as f64 / tokens as f64;
        let bounded = row_floats == 0 && numbers <= TO_HOST * tokens && sent <= TO_DEVICE * tokens;
        Ok(Counted {
            decoding,
            row_floats: each(row_floats),
            to_host: each(numbers),
            to_device: each(sent),
            bounded,
        })
    };
    ways.into_iter().map(one).collect()
}
