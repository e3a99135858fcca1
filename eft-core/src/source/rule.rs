use crate::Result;
#[cfg(doc)]
use crate::Source;
use crate::backend::{Backend, ScoreRow};

/// A combination that is not a weighted sum: a function of the log-probabilities of its parts.
///
/// Each part arrives as one score row per scored position, over the tokens that all models share: log-probabilities,
/// normalised over exactly those tokens. The rule returns one score row per position, up to an additive constant for
/// each row: the result is normalised afterwards. [`Source::rule`] makes a source of a rule and its parts.
///
/// ```
/// use eft_core::combine::Rule;
/// use eft_core::{from_fn, Backend, Host, Result, ScoreRow, Source, Term, Vocab};
///
/// /// The mean of two models' log-probabilities, sharpened.
/// struct Sharper(f32);
///
/// impl<B: Backend> Rule<B> for Sharper {
///     fn name(&self) -> String {
///         "sharper".into()
///     }
///
///     fn settings(&self) -> Vec<(&'static str, String)> {
///         vec![("by", self.0.to_string())]
///     }
///
///     fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor> {
///         let term = |rows: &Vec<_>| Term { weight: self.0 / 2.0, rows: rows.clone() };
///         backend.linear(&parts.iter().map(term).collect::<Vec<_>>(), width)
///     }
/// }
///
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
/// let sharper = Source::rule(Sharper(2.0), [model.clone(), model])?;
/// assert_eq!(sharper.name(), "sharper(ab, ab, by=2)");
/// # Ok::<(), eft_core::Error>(())
/// ```
pub trait Rule<B: Backend>: Send + Sync {
    /// Returns the name of the rule, for error messages and for printed combinations.
    fn name(&self) -> String;

    /// Returns the number that printed combinations show before part `part`, if there is one, as in
    /// `mixture(0.25: general, 0.75: medical)`. The default is `None`.
    fn share(&self, part: usize) -> Option<f32> {
        let _ = part;
        None
    }

    /// Returns the names and values of the settings that printed combinations show after the parts, as in
    /// `gate(base, tuned, gamma=0.4)`. The default is none.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns the combined scores: a tensor with at least as many rows as each part and at least `width` columns.
    ///
    /// `parts[k][i]` is score row `i` of part `k`, in the order in which the parts were given. Only the first `width`
    /// columns of a score row count.
    ///
    /// # Errors
    /// Any error of the backend.
    fn apply(&self, backend: &B, parts: &[Vec<ScoreRow<'_, B>>], width: usize) -> Result<B::Tensor>;

    /// Returns the weight of part `part` if the rule is a weighted sum of log-probabilities wherever that part counts.
    ///
    /// An [`Attribution`](crate::decode::Attribution) multiplies the part's share by it, so a part that the rule
    /// subtracts needs a negative weight. For `None`, the default, no share is reported, but only what the part prefers
    /// by itself. A part with a negative weight is never the default draft of
    /// [speculative decoding](crate::speculate).
    fn weight(&self, part: usize) -> Option<f32> {
        let _ = part;
        None
    }
}
