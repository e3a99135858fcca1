//! The tokens that simulated models prefer: functions of the text, so that a draft agrees with its target with a given
//! probability.
use eft_core::TokenId;

/// A number that looks random, for each number.
pub(crate) fn hash(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ x >> 31
}

/// What the preferred tokens after a text depend on: its length and its last tokens.
pub(crate) fn state(text: &[TokenId]) -> u64 {
    text.iter().rev().take(8).fold(text.len() as u64, |h, t| hash(h ^ u64::from(*t)))
}

/// The token, of `width`, that a model prefers in this state. Models with an `agreement` of 1 all prefer the same one;
/// others prefer that one with the probability `agreement`.
pub(crate) fn preferred(state: u64, agreement: f64, width: usize) -> usize {
    let preferred = if agrees(state, agreement) { state >> 8 } else { state >> 9 ^ 5 };
    preferred as usize % width
}

/// Whether a model that agrees with the others with this probability does so here.
pub(crate) fn agrees(state: u64, agreement: f64) -> bool {
    uniform(state ^ 1) < agreement
}

/// A number between 0 and 1 that looks random, for each number.
pub(crate) fn uniform(x: u64) -> f64 {
    (hash(x) >> 11) as f64 / (1u64 << 53) as f64
}
