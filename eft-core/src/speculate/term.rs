//! The draft that is taken if none is named.
use crate::backend::Backend;
use crate::source::Node;
use crate::{Error, Result, Source};

/// The positive term of a combination whose passes read the fewest bytes; of equals the last one written, which in
/// `large + (tuned − untuned)` is the tuned one.
pub(super) fn cheapest<B: Backend>(target: &Source<B>) -> Result<Source<B>> {
    let mut terms = Vec::new();
    collect(target, 1.0, &mut terms);
    let itself = |what: &str| Error::Unsupported {
        who: target.name(),
        what: format!("speculation without a draft of its own: {what}"),
    };
    if terms.len() < 2 {
        return Err(itself("it has no two terms of which one could write ahead"));
    }
    terms.reverse();
    let cheapest = terms.into_iter().filter(|t| t.positive).min_by_key(|t| t.bytes.unwrap_or(u64::MAX));
    cheapest.map(|t| t.source).ok_or_else(|| itself("none of its terms is positive"))
}

struct Term<B: Backend> {
    source: Source<B>,
    positive: bool,
    /// What a pass reads, where that is known.
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
        Node::Under(rendering, inner) => {
            let first = out.len();
            collect(inner, sign, out);
            out[first..].iter_mut().for_each(|t| t.source = t.source.under(rendering.clone()));
        }
    }
}
