use super::{Node, Source};
use crate::backend::Backend;
use crate::vocab::Common;
use crate::{Error, Result, TokenId};

/// The result of [`Source::check`]: how the vocabularies of a combination fit together.
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
///
/// let model = |name: &str, tokens: &[&str]| {
///     let vocab = Vocab::new(name, tokens.iter().copied())?;
///     let width = vocab.width();
///     Ok::<_, eft_core::Error>(from_fn(Host, vocab, move |_| Ok(vec![0.0; width])))
/// };
/// // The tuned model has one more token, which the sum leaves out.
/// let sum = model("base", &["a", "b"])? + model("tuned", &["a", "b", "c"])?;
/// let found = sum.check()?;
/// assert_eq!((found.common, found.renamed.len()), (2, 0));
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VocabCheck {
    /// The number of tokens that all models share: ids below this.
    pub common: usize,
    /// Special tokens that have different names in two of the vocabularies, with both names. They can be used, but a
    /// text that holds one may mean different things to the models.
    pub renamed: Vec<(TokenId, (String, String))>,
}

impl<B: Backend> Source<B> {
    /// Checks all that can be checked without a prompt: that weights are finite, that the vocabularies fit together,
    /// that a text can end, and that the combination is not too large.
    ///
    /// All terms are checked, also those that will cancel: which of them do is known only once prompts are rendered.
    ///
    /// # Errors
    /// * [`Error::InvalidWeight`] if a weight is not a finite number.
    /// * [`Error::VocabMismatch`] if two vocabularies give one id to different ordinary tokens.
    /// * [`Error::StopIdCut`] if a model's end-of-sequence id is not among the tokens that all models share.
    /// * [`Error::TooComplex`] if there are too many terms, or rules nested too deeply.
    pub fn check(&self) -> Result<VocabCheck> {
        self.check_extent()?;
        for source in self.distinct() {
            if let Node::Sum(terms) = source.node() {
                terms.iter().try_for_each(|(weight, term)| check_weight(*weight, term))?;
            }
        }
        let vocabs = self.vocabs();
        let common = Common::of(vocabs.iter().copied())?;
        for vocab in &vocabs {
            if let Some(&id) = vocab.eos().iter().find(|id| **id as usize >= common.width) {
                return Err(Error::StopIdCut { vocab: vocab.name().into(), id, common: common.width });
            }
        }
        Ok(VocabCheck { common: common.width, renamed: common.renamed.into_iter().collect() })
    }
}

/// Refuses a weight that is not a finite number in single precision, in which scores are combined.
pub(crate) fn check_weight<B: Backend>(weight: f64, term: &Source<B>) -> Result<()> {
    let weight = weight as f32;
    if weight.is_finite() {
        return Ok(());
    }
    Err(Error::InvalidWeight { term: term.name(), weight })
}
