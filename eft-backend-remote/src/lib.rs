//! A large model on an engine of its own, for **emulated fine-tuning**: vLLM, llama-server, SGLang, or any server with
//! OpenAI's completions runs `large` of `large + (tuned − small)`, and the small pair runs here.
//!
//! * [`Remote`]: the settings for a server; [`Server`]: one that has been connected to.
//! * [`RemoteEngine`]: the server's model as an [`Engine`](eft_core::Engine), to be combined with others.
//! * [`ProvenSum`]: the same sum where the server tells only its likeliest tokens, with a proof of each greedy choice.
//! * [`RemoteProposer`]: the server's model as the base of a weak-to-strong search, by sampled text alone.
//! * [`Traffic`]: what has crossed the wire.
//!
//! ```no_run
//! use eft_backend_remote::Remote;
//! use eft_core::{Host, Sampling, Source, Vocab};
//!
//! # fn pair() -> (Source<Host>, Source<Host>) { unreachable!() }
//! let server = Remote::llama_server("http://127.0.0.1:8080").open()?;
//! let (tuned, small) = pair();
//! let large = Source::new(server.engine(Host, small.vocab().clone())?);
//!
//! let upscaled = &large + (&tuned - &small);
//! for token in upscaled.generate([1, 5], Sampling::greedy())? {
//!     println!("{}", token?.id);
//! }
//! # Ok::<(), eft_core::Error>(())
//! ```
//!
//! # What crosses the wire
//! A request sends the token ids of one row, and is answered by the log-probs after its last tokens. Nothing is kept at
//! the server but its own prefix cache. All requests may therefore be repeated, and they are, after connection losses and
//! overload: see [`Remote::retries`].
//!
//! # Speculative decoding
//! Each pass of a remote model costs a round trip, however many positions it scores. So
//! [`speculate`](eft_core::Source::speculate) with the tuned small model as the draft saves round trips.
//!
//! # Keys
//! [`Remote::key_from`] names an environment variable. The key is sent in a header that is marked as sensitive; it
//! appears in no error and in no `Debug` output.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod engine;
mod error;
mod http;
mod kind;
mod parallel;
mod proposer;
mod proven;
mod remote;
mod rows;
mod server;
mod told;
mod vocabulary;

pub use engine::RemoteEngine;
pub use error::{Error, Result};
pub use http::Traffic;
pub use kind::Kind;
pub use proposer::RemoteProposer;
pub use proven::{ProofReport, ProvenSum, Unproven};
pub use remote::Remote;
pub use server::Server;
