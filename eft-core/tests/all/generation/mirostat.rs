//! Mirostat remembers what it decided, up to a number of tokens.
use eft_core::backend::Pick;
use eft_core::sample::{Cut, History, Mirostat, Truncation};

/// The most kept tokens that are remembered.
const MOST: usize = 1 << 22;

#[test]
fn the_oldest_decisions_are_forgotten() {
    // Nearly half of what is remembered, and the rest is enough for the questions below. All tokens are equally likely, so
    // that each has a surprise of 21 bits.
    let half = MOST / 2 - 10;
    let likely = |tokens: usize, log_prob: f64| -> Vec<_> {
        (0..tokens as u32).map(|token| Pick { token, log_prob: log_prob as f32 }).collect()
    };
    let equal = likely(half, -(half as f64).ln());
    // The bound begins at 22 bits, and is 12 bits after a token of 21 bits.
    let mirostat = Mirostat::new(11.0, 1.0).unwrap();
    let kept = |text: &[u32], picks: &[Pick]| match mirostat.cut_after(&History::new(text), picks, 0.0) {
        Cut::Keep(kept) => kept.len(),
        other => panic!("{other:?}"),
    };
    // The first place is decided again, so that the second one is the oldest.
    for text in [[0], [1], [0], [2]] {
        assert_eq!(kept(&text, &equal), half);
    }
    let mut rare = likely(2, -1.0);
    rare[1].log_prob = -10.0;
    for (text, remembered) in [(0, true), (1, false), (2, true)] {
        let expected = if remembered { 1 } else { 2 };
        assert_eq!(kept(&[text, 5], &rare), expected, "after the text {text}");
    }
}
