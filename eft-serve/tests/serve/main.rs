//! Tests of the server over HTTP, with the tiny models of `zoo/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod chat;
mod completions;
mod config;
mod fuzz;
mod http;
mod load;
mod prefill;
#[cfg(feature = "remote")]
#[path = "../../../eft-backend-remote/tests/all/process.rs"]
mod process;
mod program;
mod readme;
#[cfg(feature = "remote")]
mod remote;
mod scheduling;
mod scoring;
mod slow;
mod speculation;

use std::sync::OnceLock;

use eft_serve::config::{CombinationConfig, ModelConfig};
use eft_serve::{Config, Server};

/// A configuration with the zoo's trio, on a free port.
fn zoo() -> Config {
    let path = |name: &str| ModelConfig::new(format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR")));
    let mut config = Config::empty();
    config.server.port = 0;
    config.models = [("large", "base-large"), ("small", "base-small"), ("tuned", "tuned-small")]
        .map(|(name, folder)| (name.to_owned(), path(folder)))
        .into();
    let combination = CombinationConfig::new("large + alpha*(tuned - small)").number("alpha", 1.0);
    config.combinations.insert("eft".into(), combination);
    config
}

/// A server that most tests share.
fn shared() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(&zoo()).expect("the server starts"));
    format!("http://{}", server.address())
}
