//! [`Joint`]: the texts of several sources, or of one source under several settings, generated together.
//!
//! Sources that are combinations of the same models, such as `large + α·(tuned − small)` for several α, often write the
//! same tokens for a while. A joint generation keeps one row of the models for each *distinct* text: at each step it
//! combines the score rows of the models for every source, and copies a row only where the sources disagree about the
//! next token. So many sources cost little more than one, and each text is the one that its source would write alone.
//!
//! ```
//! use eft_core::decode::{Joint, Variant};
//! use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
//!
//! let vocab = Vocab::new("abc", ["a", "b", "</s>"])?.with_eos([2])?;
//! let model = |logits: [f32; 3]| from_fn(Host, vocab.clone(), move |_| Ok(logits.to_vec()));
//! let (large, tuned, small) = (model([1.0, 0.0, 0.0]), model([0.0, 2.0, 1.0]), model([0.0, 1.0, 1.0]));
//!
//! let decoding = Decoding::from(Sampling::greedy()).max_tokens(4);
//! let variants = [0.0, 0.5, 1.5].map(|alpha| Variant::new(&large + alpha * (&tuned - &small), &decoding));
//! let mut joint = Joint::open(variants, [vec![0], vec![1, 0]])?;
//! assert_eq!(joint.rows(), 6); // two texts of each variant
//! joint.by_ref().try_for_each(|event| event.map(drop))?;
//! // Four tokens of six texts. The first two variants agree about them, so the models read four rows.
//! let work = joint.work();
//! assert_eq!((work.steps, work.row_steps, work.text_steps), (4, 14, 24));
//! # Ok::<(), eft_core::Error>(())
//! ```
mod batch;
mod variant;
mod work;

pub use batch::Joint;
pub use variant::Variant;
pub use work::JointWork;
