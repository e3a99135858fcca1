use crate::Source;
use crate::backend::Backend;
use crate::sample::Decoding;

/// One way of generating the texts of a [`Joint`](super::Joint) generation: a source, and the settings of its generation.
///
/// ```
/// use eft_core::decode::Variant;
/// use eft_core::{Host, Sampling, Vocab, from_fn};
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// // Clones of one source are evaluated once, so several temperatures cost no more than one.
/// let variants = [0.5, 1.0].map(|t| Variant::new(model.clone(), Sampling::default().temperature(t)));
/// assert_eq!(variants[0].decoding.sampling.temperature, 0.5);
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct Variant<B: Backend> {
    /// The source that the texts are generated from.
    pub source: Source<B>,
    /// How tokens are drawn, and when a text ends.
    pub decoding: Decoding,
}

impl<B: Backend> Variant<B> {
    /// Makes a variant of a source and of a [`Decoding`] or a [`Sampling`](crate::Sampling).
    pub fn new(source: Source<B>, decoding: impl Into<Decoding>) -> Self {
        Self { source, decoding: decoding.into() }
    }
}

impl<B: Backend> Clone for Variant<B> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), decoding: self.decoding.clone() }
    }
}

/// The distinct sources of the variants, and the index of each variant's source among them.
pub(super) fn distinct<B: Backend>(variants: &[Variant<B>]) -> (Vec<&Source<B>>, Vec<usize>) {
    let mut sources: Vec<&Source<B>> = Vec::new();
    let roots = variants.iter().map(|variant| {
        sources.iter().position(|source| source.is_clone_of(&variant.source)).unwrap_or_else(|| {
            sources.push(&variant.source);
            sources.len() - 1
        })
    });
    let roots = roots.collect();
    (sources, roots)
}
