//! Numbers copied between the host and the device are counted.
use eft_core::conformance::{SourceTest, TrafficCounter, check_source, check_traffic, count_traffic};
use eft_core::{Backend, Host, Result, Sampling, ScoreRow, Source};

use crate::common::*;

#[test]
fn the_counter_counts_what_is_copied() {
    let counter = TrafficCounter::new(Host);
    let source = count_traffic(model("m", 1), &counter);
    let sampling = Sampling::default().top_p(0.9);
    let generated =
        source.generate([1], eft_core::Decoding::from(sampling).stop_ids([]).max_tokens(3)).unwrap().count();
    assert_eq!(generated, 3);
    let traffic = counter.traffic();
    // A uniform number, the token whose log-probability is requested, and the four numbers of a filter are sent to the
    // device. The pick and that log-probability are sent to the host.
    assert_eq!((traffic.row_floats, traffic.numbers, traffic.sent), (0, 3 * 3, 3 * (1 + 1 + 4)));
    // Diagnosing bad scores is not part of a step, and may download score rows.
    counter.reset();
    let evaluator = eft_core::Evaluator::open(&[&source], &[[1].into()]).unwrap();
    let _ = evaluator.diagnose(0, 0, 0);
    assert_eq!(counter.traffic().row_floats, WIDTH);
}

#[test]
fn traffic_is_checked() {
    check_traffic(&model("m", 1), &SourceTest::new([vec![0], vec![3, 1]])).unwrap_or_else(|e| panic!("{e}"));

    /// A rule that downloads whole score rows.
    struct Peeping;
    impl<B: Backend> eft_core::combine::Rule<B> for Peeping {
        fn name(&self) -> String {
            "peeping".into()
        }
        fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
            backend.upload(&backend.download(&parts[0], width)?, width)
        }
    }
    let peeping = Source::rule(Peeping, [model("m", 1)]).unwrap();
    // The host backend cannot reveal it; a counting backend can.
    let counter = TrafficCounter::new(Host);
    let source = Source::rule(Peeping, [count_traffic(model("m", 1), &counter)]).unwrap();
    let text = source.generate([1], eft_core::Decoding::default().stop_ids([]).max_tokens(2)).unwrap();
    assert_eq!(text.count(), 2);
    assert_eq!(counter.traffic().row_floats, 2 * 2 * WIDTH);
    assert!(check_source(&peeping, &SourceTest::new([vec![0]])).is_ok());
}
