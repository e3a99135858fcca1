//! The draft that is taken if none is named.
use crate::backend::Backend;
use crate::source::Node;
use crate::{Error, Result, Source};

/// The positive term of a combination whose passes read the fewest bytes; of equals the last one written, which in
/// `large + (tuned − untuned)` is the tuned one.
pub(super) fn cheapest<B: Backend>(target: &Source<B>) -> Result<Source<B>> {
    let models = target.models()?;
    let itself = |what: &str| Error::Unsupported {
        who: target.name(),
        what: format!("speculation without a draft of its own: {what}"),
    };
    if models.len() < 2 {
        return Err(itself("it has no two terms of which one could write ahead"));
    }
    let bytes = |source: &Source<B>| match source.node() {
        Node::Leaf(leaf) => Some(leaf.engine.spec().bytes).filter(|bytes| *bytes > 0),
        _ => None,
    };
    let positive = models.iter().rev().filter(|m| m.weight > 0.0);
    let cheapest = positive.min_by_key(|m| bytes(m.source).unwrap_or(u64::MAX));
    let cheapest = cheapest.ok_or_else(|| itself("none of its terms is positive"))?;
    // Transforms are listed from the outermost; the innermost is put around the model first.
    let transforms = cheapest.transforms.iter().rev();
    Ok(transforms.fold(cheapest.source.clone(), |source, transform| source.under((*transform).clone())))
}
