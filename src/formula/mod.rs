//! Formulas: combinations of models as text, such as `large + 0.7*(tuned - small)`.
//!
//! [`parse`] makes a [`Source`] of a formula and of the models that it names. A printed source is a formula too, which
//! gives the same source again:
//!
//! ```
//! use eft::{Host, Vocab, formula, from_fn};
//!
//! let vocab = Vocab::new("ab", ["a", "b"])?;
//! let model = |name: &str, logits: [f32; 2]| {
//!     from_fn(Host, vocab.clone().named(name), move |_| Ok(logits.to_vec()))
//! };
//! let (large, small, tuned) = (model("L", [2.0, 0.0]), model("S", [1.0, 0.0]), model("T", [0.0, 3.0]));
//! let names = [("large", &large), ("small", &small), ("tuned", &tuned)];
//!
//! let upscaled = formula::parse("large + 0.7*(tuned - small)", names)?;
//! assert_eq!(upscaled.to_string(), "large + 0.7·(tuned − small)");
//! let careful = formula::parse("nucleus_delta(tuned, large, small, p=0.9)", names)?;
//! let again = formula::parse(&careful.to_string(), names)?;
//! assert_eq!(again.to_string(), "nucleus_delta(tuned, large, small, beta=1, p=0.9)");
//!
//! let error = formula::parse("large + smallx", names).unwrap_err();
//! assert_eq!(error.column(), 9);
//! assert!(error.message().contains("did you mean `small`?"));
//! # Ok::<(), eft::Error>(())
//! ```
//!
//! # Models
//! A model is written by its name. A name that begins with a letter, `_` or `/`, and goes on with letters, digits and
//! `_`, `-`, `.` or `/`, is written as it is, such as `Qwen/Qwen2.5-0.5B`. Where one known name begins with another, the
//! longest one that fits is meant: if there are models `a`, `b` and `a-b`, then `a-b` is the third of them and `a - b` is
//! a difference. Any other name stands in backquotes, in which a backquote is written twice.
//!
//! # Operators
//! `+`, `-` (or `−`), `*` (or `·`), `/` and brackets, with the usual precedence. Models are added to models and multiplied
//! or divided by numbers. Arithmetic on numbers alone is possible: `(1 - 0.3)*large`, `1/3*large`.
//!
//! # Rules
//! | Formula | Means |
//! | --- | --- |
//! | `under("text", model)` | the model with this system message; also `under(preamble="text", model)`, `under(prefix=[1, 2], model)` and `under(prompt="text", model)`, which are [`PromptTransform::preamble`], [`prefix`](PromptTransform::prefix) and [`fixed`](PromptTransform::fixed) |
//! | `adapter("name", model)`, `model[name]` | the model under one of its adapters: [`Source::adapter`] |
//! | `delta(base, tuned, untuned, alpha=1)` | [`combine::delta`] |
//! | `amplified_delta(base, tuned, untuned, beta=1)` | [`combine::amplified_delta`] |
//! | `balanced_delta(base, tuned, untuned, alpha=1, beta=1)` | [`combine::balanced_delta`] |
//! | `nucleus_delta(tuned, base, untuned, beta=1, p)` | [`combine::nucleus_delta`]; note that the tuned model comes first, as in `tuned + β·(base − untuned)`, and give `p` by its name |
//! | `multi_objective(base, 0.7: tuned, untuned, 0.3: tuned, untuned)` | [`combine::multi_objective`] |
//! | `realign(reference, aligned, lambda)` | [`combine::realign`] |
//! | `guidance(model, "text", gamma)` | [`combine::guidance`]; instead of the system message, the same as for `under` |
//! | `weighted(0.7: a, 0.3: b)` | [`combine::weighted`] |
//! | `product_of_experts(1: a, 3: b)` | [`combine::product_of_experts`] |
//! | `arithmetic(formula)` | [`combine::arithmetic`] |
//! | `mixture(0.5: a, 0.5: b)` | [`combine::mixture`] |
//! | `power_mean(0.5: a, 0.5: b, alpha)` | [`combine::power_mean`] |
//! | `union(a, b)`, `intersection(a, b)` | [`combine::union`], [`combine::intersection`] |
//! | `plausibility(source, expert, alpha)` | [`combine::plausibility`] |
//! | `gate(sure, unsure, gamma)` | [`combine::gate`] |
//!
//! Any part may be a formula. Arguments are given in this order or by name, such as `gate(base, unsure=tuned, gamma=0.4)`;
//! `α`, `β`, `γ` and `λ` are accepted as names. Where the table shows a value after `=`, it is the default. Texts stand in
//! double quotes, with the escapes of Rust. A rule that is written twice is computed twice, and its weights are not added
//! up; models that are written twice run once.
use std::collections::BTreeMap;

use eft_core::{Backend, Source};
#[cfg(doc)]
use eft_core::{PromptTransform, combine};

mod arguments;
mod error;
mod lexer;
mod names;
mod parser;
mod rules;

pub use error::{Error, Result};

/// Makes a source of a formula, in which `names` are the names of models. If a name occurs twice, the last one counts.
///
/// Each model has its name in the formula as its [name](Source::name) in the result, in errors and in printed
/// combinations. The [module](self) describes formulas and has an example.
///
/// # Errors
/// [`Error`], with the column at fault, if the text is not a formula, names a model or a rule that there is not, or has a
/// setting out of range. Brackets may be nested 128 deep.
///
/// Whether the models' vocabularies fit together is not checked: see [`Source::check`].
pub fn parse<'a, B: Backend, N: Into<String>>(
    text: &str,
    names: impl IntoIterator<Item = (N, &'a Source<B>)>,
) -> Result<Source<B>> {
    parse_with(text, names, std::iter::empty::<(String, f64)>())
}

/// Makes a source of a formula in which numbers have names, too: those of a sweep, for example.
///
/// A named number may stand wherever a number may. Where a model and a number have the same name, the model is meant.
///
/// ```
/// use eft::{Host, Vocab, formula, from_fn};
///
/// let vocab = Vocab::new("ab", ["a", "b"])?;
/// let model = |logits: [f32; 2]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
/// let (large, small, tuned) = (model([2.0, 0.0]), model([1.0, 0.0]), model([0.0, 3.0]));
/// let names = [("large", &large), ("small", &small), ("tuned", &tuned)];
///
/// let at = |alpha| formula::parse_with("large + alpha*(tuned - small)", names, [("alpha", alpha)]);
/// assert_eq!(at(0.5)?.to_string(), "large + 0.5·(tuned − small)");
/// # Ok::<(), eft::Error>(())
/// ```
///
/// # Errors
/// The errors of [`parse`]. A named number that is not finite is an error at the place of its name.
pub fn parse_with<'a, B: Backend, N: Into<String>, M: Into<String>>(
    text: &str,
    names: impl IntoIterator<Item = (N, &'a Source<B>)>,
    numbers: impl IntoIterator<Item = (M, f64)>,
) -> Result<Source<B>> {
    let named = |(name, source): (N, &Source<B>)| {
        let name = name.into();
        let source = if source.name() == name { source.clone() } else { source.named(&name) };
        (name, source)
    };
    let models: BTreeMap<String, Source<B>> = names.into_iter().map(named).collect();
    let numbers: BTreeMap<String, f64> =
        numbers.into_iter().map(|(name, number)| (name.into(), number)).collect();
    let names: Vec<_> = models.keys().chain(numbers.keys()).map(String::as_str).collect();
    parser::Parser::new(text, lexer::tokens(text, &names), &models, &numbers).formula()
}
