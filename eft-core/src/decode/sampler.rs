use crate::backend::Backend;
use crate::sample::{Decoding, Sampler};
use crate::{Result, Source};

impl<B: Backend> Source<B> {
    /// Returns a sampler for your own decoding loop over `rows` rows. It knows the end-of-sequence ids of the source's
    /// models, unless `decoding` names stop ids.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) if a setting is out of range.
    pub fn sampler(&self, decoding: impl Into<Decoding>, rows: usize) -> Result<Sampler<B>> {
        let mut decoding = decoding.into();
        decoding.stop_ids.get_or_insert_with(|| self.stop_ids().into_iter().collect());
        Sampler::new(self.backend().clone(), &decoding, rows)
    }
}
