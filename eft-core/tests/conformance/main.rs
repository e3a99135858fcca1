//! The test kit itself: it passes what is right, and finds what is wrong.
mod backends;
#[path = "../common/mod.rs"]
mod common;
mod engines;
mod failures;
mod sources;
mod traffic;
