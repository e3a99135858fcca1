//! The draft that is used if none is named.
use crate::backend::Backend;
use crate::source::Node;
use crate::{Error, Result, Source};

/// Returns the term of a combination with a positive weight whose passes read the fewest bytes. Of several, it is the
/// one that is written last, which in `large + (tuned − untuned)` is the tuned one. A part that a rule subtracts has a
/// negative weight.
pub(super) fn default_draft<B: Backend>(target: &Source<B>) -> Result<Source<B>> {
    let models = target.models()?;
    let refuse = |why: &str| Error::Unsupported {
        who: target.name(),
        what: format!("speculation without a named draft: {why}"),
    };
    if models.len() < 2 {
        return Err(refuse("it has only one term, so none can write ahead of the others"));
    }
    let bytes = |source: &Source<B>| match source.node() {
        Node::Leaf(leaf) => Some(leaf.engine.spec().bytes).filter(|bytes| *bytes > 0),
        _ => None,
    };
    let positive = models.iter().rev().filter(|m| m.weight > 0.0);
    let cheapest = positive.min_by_key(|m| bytes(m.source).unwrap_or(u64::MAX));
    let cheapest = cheapest.ok_or_else(|| refuse("none of its terms has a positive weight"))?;
    // Transforms are listed from the outermost; the innermost is put around the model first.
    let transforms = cheapest.transforms.iter().rev();
    Ok(transforms.fold(cheapest.source.clone(), |source, transform| source.under((*transform).clone())))
}
