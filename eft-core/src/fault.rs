//! Finds the fault that makes a score row unusable.
use crate::{Fault, TokenId};

/// Returns the first fault of the scores of one term at one position, or `None` if a token can be chosen from them.
///
/// `subtracted` says that the term has a negative weight. A score of −∞ is then a fault, too: subtracted, it would
/// become +∞.
pub(crate) fn fault(scores: &[f32], subtracted: bool) -> Option<Fault> {
    let first = |f: fn(f32) -> bool| scores.iter().position(|s| f(*s)).map(|id| id as TokenId);
    if let Some(id) = first(f32::is_nan) {
        return Some(Fault::NotANumber(id));
    }
    if let Some(id) = first(|s| s == f32::INFINITY) {
        return Some(Fault::Infinite(id));
    }
    if first(f32::is_finite).is_none() {
        return Some(Fault::NothingFinite);
    }
    first(|s| s == f32::NEG_INFINITY).filter(|_| subtracted).map(Fault::ExcludedBySubtraction)
}
