//! The draft that is used if none is named.
use crate::backend::Backend;
use crate::source::Node;
use crate::{Error, Result, Source};

/// Returns the term of a combination with a positive weight whose passes read the fewest bytes; of several, the one
/// that is written last, which in `large + (tuned − untuned)` is the tuned one.
pub(super) fn default_draft<B: Backend>(target: &Source<B>) -> Result<Source<B>> {
    let mut terms = Vec::new();
    collect(target, 1.0, &mut terms);
    let refuse = |why: &str| Error::Unsupported {
        who: target.name(),
        what: format!("speculation without a named draft: {why}"),
    };
    if terms.len() < 2 {
        return Err(refuse("it has only one term, so none can write ahead of the others"));
    }
    terms.reverse();
    let cheapest = terms.into_iter().filter(|t| t.positive).min_by_key(|t| t.bytes.unwrap_or(u64::MAX));
    cheapest.map(|t| t.source).ok_or_else(|| refuse("none of its terms has a positive weight"))
}

/// A term that may draft.
struct Term<B: Backend> {
    source: Source<B>,
    positive: bool,
    /// The bytes that a pass reads, if that is known.
    bytes: Option<u64>,
}

fn collect<B: Backend>(source: &Source<B>, sign: f32, out: &mut Vec<Term<B>>) {
    let mut term = |bytes: u64| {
        out.push(Term {
            source: source.clone(),
            positive: sign > 0.0,
            bytes: Some(bytes).filter(|bytes| *bytes > 0),
        });
    };
    match source.node() {
        Node::Leaf(leaf) => term(leaf.engine.spec().bytes),
        Node::Opaque(_) => term(0),
        Node::Sum(terms) => terms.iter().for_each(|(weight, term)| collect(term, sign * weight, out)),
        Node::Rule(_, parts) => parts.iter().for_each(|part| collect(part, sign, out)),
        Node::Under(transform, inner) => {
            let first = out.len();
            collect(inner, sign, out);
            out[first..].iter_mut().for_each(|t| t.source = t.source.under(transform.clone()));
        }
    }
}
