//! Tests of the test kit itself: it accepts correct implementations, and finds faulty ones.
mod backends;
mod engines;
mod failures;
mod sources;
mod traffic;
