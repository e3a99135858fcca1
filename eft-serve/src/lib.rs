//! A server that speaks OpenAI's protocol and serves combinations of models.
//!
//! ```sh
//! cargo run --release -p eft-serve                       # emulated fine-tuning with the zoo's tiny models
//! cargo run --release -p eft-serve -- --large MODEL --small MODEL --tuned MODEL
//! cargo run --release -p eft-serve -- --config eft.toml
//! ```
//!
//! The README of the crate describes the protocol. In a program of your own, a [`Server`] is started
//! from a [`Config`]:
//!
//! ```no_run
//! use eft_serve::{Config, Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! let config = Config::read("eft.toml")?;
//! let server = Server::start(&config)?;
//! println!("listening on {}", server.address());
//! server.wait();
//! # Ok(())
//! # }
//! ```
//!
//! From the inside out: [`models`] loads what the [`config`] names, [`schedule`] runs it on one thread, and [`api`] answers
//! HTTP requests.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod api;
pub mod config;
#[cfg(feature = "grammar")]
mod grammars;
pub mod metrics;
pub mod models;
pub mod schedule;
mod server;

pub use config::Config;
pub use models::Models;
pub use server::Server;
