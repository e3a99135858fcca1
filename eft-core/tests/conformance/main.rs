//! Tests of the test kit itself: it accepts correct implementations, and finds faulty ones.
mod backends;
#[path = "../common/mod.rs"]
mod common;
mod engines;
mod failures;
mod sources;
mod traffic;
