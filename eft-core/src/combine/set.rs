use super::power_mean::Pooled;
use crate::backend::{Backend, Pool};
use crate::{Result, Source};

/// `softmax(max(log πᵢ))`: tokens that any of the models likes. Dekoninck et al. 2023, arXiv 2311.14479.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) without parts.
pub fn union<'a, B: Backend>(parts: impl IntoIterator<Item = &'a Source<B>>) -> Result<Source<B>> {
    extreme("union", Pool::Max, parts)
}

/// `softmax(min(log πᵢ))`: tokens that all of the models like. Dekoninck et al. 2023, arXiv 2311.14479.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) without parts.
pub fn intersection<'a, B: Backend>(parts: impl IntoIterator<Item = &'a Source<B>>) -> Result<Source<B>> {
    extreme("intersection", Pool::Min, parts)
}

fn extreme<'a, B: Backend>(
    name: &str,
    pool: Pool,
    parts: impl IntoIterator<Item = &'a Source<B>>,
) -> Result<Source<B>> {
    let parts: Vec<_> = parts.into_iter().cloned().collect();
    Pooled::source(name, pool, vec![1.0; parts.len()], parts)
}
