use super::power_mean::Pooled;
use crate::backend::{Backend, Pool};
use crate::{Result, Source};

/// Returns `softmax(maxᵢ log πᵢ)`, which favours tokens that any of the models favours.
///
/// Dekoninck et al. 2023, arXiv 2311.14479.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (formal, friendly) = (model("formal"), model("friendly"));
/// let either = combine::union([&formal, &friendly])?;
/// assert_eq!(either.to_string(), "union(formal, friendly)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if there are no parts.
pub fn union<'a, B: Backend>(parts: impl IntoIterator<Item = &'a Source<B>>) -> Result<Source<B>> {
    extreme("union", Pool::Max, parts)
}

/// Returns `softmax(minᵢ log πᵢ)`, which favours tokens that all of the models favour.
///
/// Dekoninck et al. 2023, arXiv 2311.14479.
///
/// ```
/// # use eft_core::{combine, from_fn, Host, Vocab};
/// # let vocab = Vocab::new("ab", ["a", "b"])?;
/// # let model = |name: &str| from_fn(Host, vocab.clone(), |_| Ok(vec![0.0, 1.0])).named(name);
/// # let (formal, friendly) = (model("formal"), model("friendly"));
/// let both = combine::intersection([&formal, &friendly])?;
/// assert_eq!(both.to_string(), "intersection(formal, friendly)");
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if there are no parts.
pub fn intersection<'a, B: Backend>(parts: impl IntoIterator<Item = &'a Source<B>>) -> Result<Source<B>> {
    extreme("intersection", Pool::Min, parts)
}

fn extreme<'a, B: Backend>(
    name: &'static str,
    pool: Pool,
    parts: impl IntoIterator<Item = &'a Source<B>>,
) -> Result<Source<B>> {
    let parts: Vec<_> = parts.into_iter().cloned().collect();
    Pooled::new(name, pool).source(vec![1.0; parts.len()], parts)
}
