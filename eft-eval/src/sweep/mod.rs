//! Sweeps: one set of models under many values of a setting, generated together, and the choice of one value.
//!
//! The values may be those of α, β or λ of a combination, of a nucleus, or of the temperature: each is a
//! [`Variant`](eft_core::decode::Variant), a source with settings of generation. Sources over the same models share their
//! passes, and values share a row of the models as long as they choose the same tokens: see [`eft_core::decode::joint`].
//! So nine values cost little more than the longest of them, and every text is the one that its source writes alone.
//! For the beam, the successors and the chunk of a weak-to-strong search, see [`search`](search()).
//!
//! A value must not be chosen by the scores that are then reported for it. [`choose`](choose()) takes the value that is
//! best on the items of a validation part, and reports its scores on a test part.
//!
//! ```
//! use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
//! use eft_eval::stats::{Bootstrap, Clusters};
//! use eft_eval::sweep::{Part, Sweep, choose};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
//! let model = |logits: [f32; 3]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
//! let (large, tuned, small) = (model([1.0, 0.0, 0.0]), model([0.0, 2.0, 1.0]), model([0.0, 1.0, 1.0]));
//!
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(1);
//! let sweep = Sweep::over([0.0, 0.5, 1.5, 2.0], decoding, |alpha| &large + *alpha * (&tuned - &small));
//! // The answer to every prompt should be "b".
//! let part = |prompts: [Vec<u32>; 2]| -> eft_core::Result<Part> {
//!     let swept = sweep.run(prompts)?;
//!     let right = |text: &str| f64::from(u8::from(text == "b"));
//!     let scores = swept.scores(|_item, text| text.as_ref().map_or(0.0, |text| right(&text.text)));
//!     Ok(Part { scores, clusters: Clusters::each(2) })
//! };
//! let (validation, test) = (part([vec![0], vec![1]])?, part([vec![0, 1], vec![1, 1]])?);
//! let choice = choose(sweep.values(), &validation, &test, &Bootstrap::default()).unwrap();
//! assert_eq!((*choice.value(), choice.of_chosen().test.value), (1.5, 1.0)); // the smaller of two that are equally good
//! # Ok::<(), eft_core::Error>(())
//! ```
mod choose;
mod run;
mod search;

pub use choose::{Choice, OfValue, Part, choose};
pub use run::{Sweep, Swept, SweptText, Written};
pub use search::{Searched, SearchedText, Shape, search};

/// Whether an error says that the models refuse a prompt, as opposed to the settings.
fn refuses_prompt(error: &eft_core::Error) -> bool {
    use eft_core::Error::{CannotRender, ContextFull, EmptyPrompt, TokenOutOfRange};
    matches!(error, CannotRender { .. } | ContextFull { .. } | EmptyPrompt { .. } | TokenOutOfRange { .. })
}
