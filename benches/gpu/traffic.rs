//! What crosses between the device and the host for each token of a combination of three models.
use eft::conformance::{Traffic, TrafficCounter, count_traffic};
use eft::{Backend, Decoding, Sampling, Source, TokenId};
use serde::Serialize;

/// The most numbers that a token needs, to the host and to the device. A greedy one: the token and its log-prob; the weights of
/// the three terms.
const GREEDY: [usize; 2] = [2, 3];
/// One that is drawn: also its log-prob before the filters; the settings of the filters, a uniform number, and the token whose
/// log-prob is asked for.
const DRAWN: [usize; 2] = [3, 3 + 4 + 1 + 1];

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
    let ways = [("greedy", Sampling::greedy(), GREEDY), ("drawn, with top-k and top-p", drawn, DRAWN)];
    let one = |(decoding, sampling, [to_host, to_device]): (&'static str, Sampling, [usize; 2])| {
        let counter = TrafficCounter::new(large.backend().clone());
        let counted = |source: &Source<B>| count_traffic(source.clone(), &counter);
        let sum = &counted(large) + (&counted(tuned) - &counted(small));
        let settings = Decoding::from(sampling).stop_ids([]).max_tokens(tokens);
        sum.generate(prompt, settings)?.try_for_each(|token| token.map(drop))?;
        let Traffic { row_floats, numbers, sent, .. } = counter.traffic();
        let each = |count: usize| count as f64 / tokens as f64;
        let bounded = row_floats == 0 && numbers <= to_host * tokens && sent <= to_device * tokens;
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
