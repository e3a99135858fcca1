//! Servers as engines: against a server in the test that can fail, and against real ones where they are installed.
mod fake;
mod faults;
mod keys;
mod laws;
mod llama_server;
mod process;
mod proofs;
mod proposer;
mod rows;
mod sglang;
mod toy;
mod vllm;

use std::path::{Path, PathBuf};

/// A file or folder of the zoo.
fn zoo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo").join(path)
}
