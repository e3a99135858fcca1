//! The statistics against scipy, and on bad input.
mod bad_input;
mod golden;
