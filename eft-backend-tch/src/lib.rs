//! Emulated fine-tuning over [libtorch](tch): scores in PyTorch's tensors, on the processor or a GPU, without Python.
//!
//! [`load()`] makes a source of a checkpoint in Hugging Face's layout, [`load_script`] of a TorchScript module.
//! [`Torch`] is the [`Backend`](eft_core::Backend) of one device. Its tensors are ordinary tensors of two dimensions
//! (rows × columns), so any code that computes logits with libtorch can be a source.
//!
//! ```
//! use eft_backend_tch::{Torch, to_error};
//! use eft_core::{Backend, ScoreRow, Term};
//! use tch::Tensor;
//!
//! let torch = Torch::cpu();
//! let logits = |scores: [f32; 3]| Tensor::f_from_slice(&scores)?.f_view([1, 3]);
//! let (large, tuned) = (logits([1., 2., 3.]).map_err(to_error)?, logits([0., 5., 0.]).map_err(to_error)?);
//! let untuned = logits([0., 1., 0.]).map_err(to_error)?;
//! let combined = torch.linear(
//!     &[
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&large, 0)] },
//!         Term { weight: 1.0, rows: vec![ScoreRow::new(&tuned, 0)] },
//!         Term { weight: -1.0, rows: vec![ScoreRow::new(&untuned, 0)] },
//!     ],
//!     3,
//! )?;
//! assert_eq!(torch.argmax(&[ScoreRow::new(&combined, 0)], 3)?[0].token, 1);
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! A build needs libtorch 2.13.0, and the built programs need its libraries; the crate's README says how to get it.
//! Without libtorch, `cargo check` and `cargo doc` work with the feature `doc-only`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod backend;
pub mod load;
pub mod nn;
pub mod script;

pub use backend::{Torch, to_error};
pub use load::load;
pub use nn::TorchNn;
pub use script::{ScriptEngine, ScriptError, ScriptOptions, load_script};

pub use tch::{Device, Kind};
